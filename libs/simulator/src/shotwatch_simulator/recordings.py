"""Recorded images of one camera: reading, cropping and binning them, and where their regime changes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts load at their first use: they take a while
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from shotwatch_simulator.noise import Floats, Images

Picture = NDArray[Any]
"""One recorded image: (height, width), any number type."""
Crop = tuple[int, int, int, int]
"""Top, left, height and width of the part to use (px)."""

SUFFIXES = (".png", ".pgm", ".tif", ".tiff", ".npy", ".mat")

_GREY_MODES = ("L", "I", "F", "I;16", "I;16B", "I;16L")
_CHANGE_SIGMAS = 10
_FEWEST_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Source:
    """Where one recorded frame is: images of a multi-page file count from 0."""

    path: Path
    page: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames recorded by one camera, in the order of time, as frames of another shape."""

    sources: tuple[Source, ...]
    shape: tuple[int, int]
    crop: Crop | None
    jitter: int
    """How far (native px) a frame can be shifted either way."""
    scale: Floats
    """What makes the brightest pixel of all frames 1, one entry per frame."""
    total: Floats
    """Intensity of each frame as shown, in the same unit: (n,)."""
    border: Floats
    """Mean of its outermost pixels, the background: (n,)."""

    def light(self, frame: int, shift: int) -> Images:
        """A frame, binned, from 0 to 1 (height, width); `shift` chooses one of `shifts`."""
        windows = _windows(self.sources[frame], self.shape, self.crop, self.jitter)
        light: Images = windows[shift] * np.float32(self.scale[frame])
        return light

    @property
    def shifts(self) -> int:
        """How many shifts there are: every one of whole native pixels up to `jitter` in both directions."""
        return (2 * self.jitter + 1) ** 2


def load_recording(
    images: Path | Sequence[Path], shape: tuple[int, int], *, crop: Crop | None = None, jitter: int = 1
) -> Recording:
    """The images of a folder, or these files, as one recording.

    Each frame is binned by the largest whole number with which `shape` fits into it, or into its `crop`,
    around its middle. Frames of one number type share one scale: how bright one is beside another stays.

    Raises:
        ValueError: no image, one that cannot be read, one smaller than `shape`, or no light in any.
    """
    sources = tuple(_sources(images))
    brightest: dict[np.dtype[Any], float] = {}
    kinds, totals, borders = [], [], []
    for source in sources:
        kind = _images(source.path)[source.page].dtype
        windows = _windows(source, shape, crop, jitter)
        brightest[kind] = max(brightest.get(kind, 0.0), float(windows.max()))
        middle = windows[len(windows) // 2]
        kinds.append(kind)
        totals.append(float(middle.sum()))
        borders.append(float(np.concatenate([*middle[[0, -1]], *middle[:, [0, -1]].T]).mean()))
    if not sources or min(brightest.values()) <= 0:
        raise ValueError(f"no image with light in {images}; known are {', '.join(SUFFIXES)}")
    scale = 1 / np.array([brightest[kind] for kind in kinds])
    return Recording(sources, shape, crop, jitter, scale, scale * totals, scale * borders)


def find_frame(recording: Recording, name: str) -> int:
    """The first frame whose file name holds these digits: `15:26:53` finds `cam2-06052023152653-1059.png`.

    Raises:
        ValueError: none does.
    """
    wanted = _digits(name)
    for frame, source in enumerate(recording.sources):
        if wanted and wanted in _digits(source.path.stem):
            return frame
    raise ValueError(f"no recorded frame is of {name}")


def change_of_regime(recording: Recording) -> int | None:
    """The first frame after which brightness or background is another, None when they stay as they are.

    It is the split at which the means before and after differ most, counted in standard errors of that
    difference (Welch's t), if they differ by more than ten of them.
    """
    scores = np.array([_split_scores(values) for values in (recording.total, recording.border)])
    if not scores.size or scores.max() < _CHANGE_SIGMAS:
        return None
    return _FEWEST_FRAMES + int(scores.max(axis=0).argmax())


def read_images(path: Path) -> list[Picture]:
    """The images in a file, each (height, width); colours become their luminance.

    Of a MATLAB file it is the largest matrix of numbers in it, however deep.

    Raises:
        ValueError: the file holds no image that can be read.
    """
    try:
        match path.suffix.lower():
            case ".npy":
                return _stack(np.load(path, allow_pickle=False))
            case ".mat":
                return [_largest(_matrices(scipy.io.loadmat(path)))]
            case _:
                with Image.open(path) as image:
                    return [_grey(page) for page in ImageSequence.Iterator(image)]
    except (OSError, EOFError, ValueError, scipy.io.matlab.MatReadError, NotImplementedError) as error:
        raise ValueError(f"{path.name}: no image that can be read: {error}") from error


def bin_windows(image: Picture, shape: tuple[int, int], crop: Crop | None, jitter: int) -> Images:
    """An image binned (mean) to `shape` once for every shift by whole native pixels: (shifts, height, width).

    Shifted before binning and never interpolated: smoothed noise would give a shift away.

    Raises:
        ValueError: the image, or its crop, is too small.
    """
    if crop is not None:
        top, left, high, wide = crop
        image = image[top : top + high, left : left + wide]
    height, width = shape
    factor = min((image.shape[0] - 2 * jitter) // height, (image.shape[1] - 2 * jitter) // width)
    if factor < 1:
        raise ValueError(f"{image.shape[0]} x {image.shape[1]} px is too small for {height} x {width}")
    rows, columns = height * factor, width * factor
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    steps = range(-jitter, jitter + 1)
    windows = [
        image[top + down : top + down + rows, left + right : left + right + columns]
        .reshape(height, factor, width, factor)
        .mean(axis=(1, 3), dtype=np.float32)
        for down in steps
        for right in steps
    ]
    return np.stack(windows)


def _sources(images: Path | Sequence[Path]) -> Iterator[Source]:
    paths = images.iterdir() if isinstance(images, Path) else images
    known = [path for path in paths if path.suffix.lower() in SUFFIXES]
    for path in sorted(known, key=_natural_order):
        yield from (Source(path, page) for page in range(len(_images(path))))


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Numbers in names count as numbers: frame-9 comes before frame-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


@lru_cache(maxsize=2)
def _images(path: Path) -> list[Picture]:
    return read_images(path)


@lru_cache(maxsize=256)
def _windows(source: Source, shape: tuple[int, int], crop: Crop | None, jitter: int) -> Images:
    try:
        windows = bin_windows(_images(source.path)[source.page], shape, crop, jitter)
    except ValueError as error:
        raise ValueError(f"{source.path.name}: {error}") from error
    if not np.isfinite(windows).all():
        raise ValueError(f"{source.path.name}: has pixels that are no numbers")
    return windows


def _split_scores(values: Floats) -> Floats:
    """Welch's t of every split that leaves at least five frames on both sides."""
    before = np.arange(_FEWEST_FRAMES, len(values) - _FEWEST_FRAMES + 1)
    if not len(before) or not values.std():
        return np.zeros(len(before))
    values = (values - values.mean()) / values.std()
    after = len(values) - before
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    mean1, mean2 = sums[before - 1] / before, (sums[-1] - sums[before - 1]) / after
    variance1 = squares[before - 1] / before - mean1**2
    variance2 = (squares[-1] - squares[before - 1]) / after - mean2**2
    scores: Floats = np.abs(mean2 - mean1) / np.sqrt(variance1 / before + variance2 / after + 1e-12)
    return scores


def _stack(array: Picture) -> list[Picture]:
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
        raise ValueError(f"{array.ndim} dimensions of {array.dtype}")
    return list(array if array.ndim == 3 else array[None])


def _grey(page: Image.Image) -> Picture:
    return np.array(page if page.mode in _GREY_MODES else page.convert("L"))


def _largest(matrices: Iterable[Picture]) -> Picture:
    largest = max(matrices, key=np.size, default=None)
    if largest is None:
        raise ValueError("no matrix of numbers")
    return largest


def _matrices(value: object) -> Iterable[Picture]:
    """All matrices of numbers in what a MATLAB file holds."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _matrices(item)
    elif isinstance(value, np.ndarray) and value.dtype.names:
        for name in value.dtype.names:
            yield from _matrices(value[name])
    elif isinstance(value, np.ndarray) and value.dtype == object:
        for item in value.ravel():
            yield from _matrices(item)
    elif isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "uif":
        yield value
