"""Frames to be compared: recorded images, or what a camera of the running system recorded."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.rest import RestApi
from shotwatch_common.facility import Facility, PlaceRoster
from shotwatch_common.vocabulary import DeviceKind
from shotwatch_physics.background import estimate_background
from shotwatch_physics.noise import Light, light_of
from shotwatch_simulator.recordings import SUFFIXES, Crop, Picture, read_images

Counts = NDArray[np.uint16]
"""One frame (h, w)."""

_BRIGHTEST = 65_535
_VALID = "valid"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, and where it is from."""

    name: str
    counts: Counts


def recorded_frames(paths: Iterable[Path]) -> Iterator[Frame]:
    """The images of files, and of all image files in folders, by name; a file can have several pages.

    Raises:
        Failure: a folder holds no image, a file none that can be read, or a pixel is no number.
    """
    for path in paths:
        for file in _image_files(path):
            yield from _read(file)


def find_camera(facility: Facility, device: str) -> PlaceRoster:
    """The roster that a camera belongs to.

    Raises:
        Misuse: the facility has no such camera.
    """
    for roster in facility.places:
        if device in roster.groups and facility.device_type(device).kind is DeviceKind.CAMERA:
            return roster
    raise Misuse(f"{facility.name} has no camera {device}", "a name is such as LA_A1_11-Camera_1-Camera-1")


async def stored_frames(
    api: RestApi, roster: PlaceRoster, device: str, span: tuple[int, int], most: int, done: Callable[[], None]
) -> AsyncIterator[Frame]:
    """Valid frames of a camera, spread evenly over a span of time [start, end) (epoch ms).

    The span is divided into as many parts as frames are wanted at `most`. The first shot of each part counts:
    a part without a shot, or whose first shot has no valid frame, gives none. `done` is called after each.

    Raises:
        Failure: the API does not answer.
    """
    for part in pairwise(np.linspace(*span, most + 1).round().astype(int).tolist()):
        shot = await _first_shot(api, roster, part)
        if shot and await _is_valid(api, shot, device):
            image = await api.get(f"/shots/{shot}/devices/{device}/image", format="json")
            yield Frame(shot, np.array(image["values"], np.uint16))
        done()


def lights_of(frames: Iterable[Frame], crop: Crop | None, binning: int) -> tuple[tuple[str, ...], Light]:
    """The names of frames, and their light above noise, cropped and binned: (n, h, w).

    Raises:
        Failure: frames are of different shapes, or too small.
    """
    names: list[str] = []
    lights: list[Light] = []
    for frame in frames:
        light = binned(_light(frame.counts, crop), binning)
        if not light.size:
            raise Failure(f"{frame.name}: {_shape(frame.counts)} px leave nothing after cropping and binning")
        if lights and light.shape != lights[0].shape:
            raise Failure(f"{frame.name} is of {_shape(light)} px, {names[0]} of {_shape(lights[0])}")
        names.append(frame.name)
        lights.append(light)
    if len(lights) < 2:
        raise Failure(f"{len(lights)} frames: a distance takes two")
    return tuple(names), np.stack(lights)


def binned(light: Light, factor: int) -> Light:
    """The mean of every `factor` x `factor` pixels of a frame; what is left over at its end is cut off."""
    height, width = (side // factor for side in light.shape)
    whole = light[: height * factor, : width * factor]
    means: Light = whole.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return means


def _light(counts: Counts, crop: Crop | None) -> Light:
    """Noise is known from the border of the whole frame."""
    top, left, height, width = crop or (0, 0, *counts.shape)
    light = light_of(counts[None], estimate_background(counts[None]))[0]
    part: Light = light[top : top + height, left : left + width]
    return part


def _counts(image: Picture) -> Counts:
    """Whole counts as they are; what is none, or more than 16 bits, from its darkest to its brightest pixel.

    Raises:
        ValueError: a pixel is no finite number.
    """
    if not np.isfinite(image).all():
        raise ValueError("has pixels that are no numbers")
    low, high = image.min(), image.max()
    if image.dtype.kind in "ui" and low >= 0 and high <= _BRIGHTEST:
        return np.asarray(image, np.uint16)
    share = (image.astype(np.float64) - low) / (float(high) - float(low) or 1.0)
    return np.asarray(np.round(share * _BRIGHTEST), np.uint16)


def _read(file: Path) -> list[Frame]:
    try:
        images = [_counts(image) for image in read_images(file)]
    except ValueError as error:
        raise Failure(f"{file}: {error}") from error
    if len(images) == 1:
        return [Frame(file.name, images[0])]
    return [Frame(f"{file.name}[{page}]", image) for page, image in enumerate(images)]


def _image_files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise Failure(f"{path} holds no image", f"known are {', '.join(SUFFIXES)}")
    return found


async def _first_shot(api: RestApi, roster: PlaceRoster, part: tuple[int, int]) -> str | None:
    place = {"frontend": roster.frontend, "amp": roster.amp, "arm": roster.arm, "interval": roster.interval}
    span: dict[str, Any] = {"from": part[0], "to": part[1]}
    page = await api.get("/shots", **place, **span, order="oldest", limit=1)
    return next((shot["id"] for shot in page["shots"]), None)


async def _is_valid(api: RestApi, shot: str, device: str) -> bool:
    members = (await api.get(f"/shots/{shot}"))["members"]
    return any(member["device"] == device and member["verdict"] == _VALID for member in members)


def _shape(pixels: NDArray[Any]) -> str:
    return " x ".join(map(str, pixels.shape))
