"""Frames to compare: recorded images, or frames that a camera of the running system recorded."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.rest import Primitive, RestApi
from shotwatch_common.printable import printable
from shotwatch_physics.background import estimate_background
from shotwatch_physics.feature import Light
from shotwatch_physics.noise import light_of
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_simulator.image_reader import SUFFIXES, SkippedFile, UnreadableImage, read_recorded
from shotwatch_simulator.images import Picture, saturation_level
from shotwatch_simulator.recordings import Crop

Counts = NDArray[np.uint16]
"""One frame (h, w)."""

Pixel = TypeVar("Pixel", bound=np.generic)
_BRIGHTEST = 65_535
_VALID = "valid"


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame, and its name."""

    name: str
    image: Picture


@dataclass(frozen=True, slots=True)
class Lights:
    """Frames without their noise, cropped and binned."""

    names: tuple[str, ...]
    light: Light
    """(n, h, w)"""
    saturated: tuple[str, ...]
    """Frames with a saturated pixel inside the crop: their distances are not those of the beam."""


def recorded_frames(paths: Sequence[Path], skipped: list[SkippedFile]) -> Iterator[RecordedFrame]:
    """Yield the images of files and folders in order; add files of a folder that hold no image to `skipped`.

    Raises:
        Failure: a file that was given directly holds no readable image, or there is no image at all.
    """
    found = False
    try:
        for file in read_recorded(paths):
            if isinstance(file, SkippedFile):
                skipped.append(file)
                continue
            found = True
            name, several = printable(file.path.name), len(file.images) > 1
            for page, image in enumerate(file.images):
                yield RecordedFrame(f"{name}[{page}]" if several else name, image)
    except UnreadableImage as error:
        raise Failure(str(error)) from error
    if not found:
        named = printable(", ".join(map(str, paths)))
        raise Failure(f"{named} holds no image that can be read", f"supported are {', '.join(SUFFIXES)}")


def find_camera(facility: Facility, device: str) -> ExpectedDevices:
    """Return the place whose expected devices include the camera.

    Raises:
        Misuse: the facility has no such camera.
    """
    for expected in facility.places:
        if device in expected.devices and facility.device_type(device).kind is DeviceKind.CAMERA:
            return expected
    raise Misuse(f"{facility.name} has no camera {device}", "a name is such as LA_A1_11-Camera_1-Camera-1")


async def stored_frames(
    api: RestApi,
    expected: ExpectedDevices,
    device: str,
    span: tuple[int, int],
    most: int,
    done: Callable[[], None],
) -> AsyncIterator[RecordedFrame]:
    """Yield valid frames of a camera, spread evenly over a span of time [start, end) (epoch ms).

    The span is divided into `most` parts, and the first shot of each part counts. A part without a shot, or
    whose first shot has no valid frame, gives no frame. `done` is called after each part.

    Raises:
        Failure: the API does not answer.
    """
    for part in pairwise(np.linspace(*span, most + 1).round().astype(int).tolist()):
        shot = await _first_shot(api, expected, part)
        if shot and await _is_valid(api, shot, device):
            image = await api.get(f"/shots/{shot}/devices/{device}/image", format="json")
            yield RecordedFrame(shot, np.array(image["values"], np.uint16))
        done()


def lights_of(frames: Iterable[RecordedFrame], crop: Crop | None, binning: int) -> Lights:
    """Return the light of frames above their noise, cropped and binned.

    Raises:
        Failure: the frames have different shapes, or are too small.
    """
    names: list[str] = []
    lights: list[Light] = []
    peaks: list[tuple[np.dtype[np.generic], float]] = []
    limits: dict[np.dtype[np.generic], float] = {}
    for frame in frames:
        image, part = frame.image, _cropped(frame.image, crop)
        light = binned(_cropped(_light(counts_of(image)), crop), binning)
        if not light.size:
            raise Failure(f"{frame.name}: {_shape(image)} px leave nothing after cropping and binning")
        limits[image.dtype] = max(limits.get(image.dtype, 0.0), float(image.max()))
        peaks.append((image.dtype, float(part.max())))
        if lights and light.shape != lights[0].shape:
            raise Failure(f"{frame.name} is of {_shape(light)} px, {names[0]} of {_shape(lights[0])}")
        names.append(frame.name)
        lights.append(light)
    if len(lights) < 2:
        raise Failure(f"a distance needs two frames, not {len(lights)}")
    levels = {kind: saturation_level(limit, kind) for kind, limit in limits.items()}
    saturated = [name for name, (kind, peak) in zip(names, peaks, strict=True) if peak >= levels[kind]]
    return Lights(tuple(names), np.stack(lights), tuple(saturated))


def binned(light: Light, factor: int) -> Light:
    """Return the mean of every `factor` x `factor` pixels of a frame; incomplete squares are left out."""
    height, width = (side // factor for side in light.shape)
    whole = light[: height * factor, : width * factor]
    means: Light = whole.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return means


def are_counts(image: Picture) -> bool:
    """Return whether all pixels are whole numbers from 0 to 65,535, of any type."""
    return bool(image.min() >= 0 and image.max() <= _BRIGHTEST and (image == np.rint(image)).all())


def counts_of(image: Picture) -> Counts:
    """Return counts unchanged, and scale other values: the darkest becomes 0, the brightest 65,535."""
    if not are_counts(image):
        values = image.astype(np.float64)
        image = np.round((values - values.min()) * (_BRIGHTEST / (np.ptp(values) or 1.0)))
    return np.asarray(image, np.uint16)


def _light(counts: Counts) -> Light:
    """Return the light of a frame. The noise is estimated from the border of the whole frame."""
    light: Light = light_of(counts[None], estimate_background(counts[None]))[0]
    return light


def _cropped(pixels: NDArray[Pixel], crop: Crop | None) -> NDArray[Pixel]:
    top, left, height, width = crop or (0, 0, *pixels.shape)
    return pixels[top : top + height, left : left + width]


async def _first_shot(api: RestApi, expected: ExpectedDevices, part: tuple[int, int]) -> str | None:
    place = {"place": str(expected.place), "interval": expected.interval}
    span: dict[str, Primitive] = {"from": part[0], "to": part[1]}
    page = await api.get("/shots", **place, **span, order="oldest", limit=1)
    return next((shot["id"] for shot in page["shots"]), None)


async def _is_valid(api: RestApi, shot: str, device: str) -> bool:
    members = (await api.get(f"/shots/{shot}"))["members"]
    return any(member["device"] == device and member["verdict"] == _VALID for member in members)


def _shape(pixels: NDArray[np.generic]) -> str:
    return " x ".join(map(str, pixels.shape))
