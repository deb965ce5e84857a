"""Recorded images of one camera: cropping and binning them, and finding the change of their regime."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.printable import printable
from shotwatch_simulator.image_reader import SUFFIXES, SkippedFile, read_images, read_recorded
from shotwatch_simulator.images import Picture, saturation_level
from shotwatch_simulator.noise import Floats, Images

Crop = tuple[int, int, int, int]
"""Top, left, height and width of the part to use (px)."""

_CHANGE_SIGMAS = 10
_FEWEST_FRAMES = 5
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The file and page of one recorded frame; images of a multi-page file count from 0."""

    path: Path
    page: int


@dataclass(frozen=True)
class Recording:
    """Frames recorded by one camera, in the order of time, converted to frames of another shape."""

    sources: tuple[FrameSource, ...]
    shape: tuple[int, int]
    crop: Crop | None
    jitter: int
    """Largest shift of a frame in each direction (native px)."""
    scale: Floats
    """Factor that makes the brightest pixel of all frames 1, one entry per frame."""
    total: Floats
    """Intensity of each frame as it is shown, in the same unit: (n,)."""
    border: Floats
    """Mean of the outermost pixels of each frame, the background: (n,)."""
    saturated_from: Floats
    """The count from which a native pixel is saturated (`saturation_level`), one entry per frame."""
    skipped: tuple[SkippedFile, ...]

    def light(self, frame: int, shift: int) -> Images:
        """Return a frame, binned, from 0 to 1 (height, width); `shift` selects one of `shifts`."""
        light: Images = self._windows(frame)[shift] * np.float32(self.scale[frame])
        return light

    def native(self, frame: int) -> Picture:
        """Return a frame as it was recorded."""
        source = self.sources[frame]
        return self._images(source.path)[source.page]

    def saturated(self, frame: int, shift: int) -> NDArray[np.bool_]:
        """Return which binned pixels have at least one saturated native pixel in them: (height, width)."""
        saturated: NDArray[np.bool_] = self._saturated(frame)[shift]
        return saturated

    @property
    def shifts(self) -> int:
        """The number of shifts: all by whole native pixels up to `jitter` in both directions."""
        return (2 * self.jitter + 1) ** 2

    @cached_property
    def _images(self) -> Callable[[Path], list[Picture]]:
        """Reads the images of a file, and keeps those of two files."""
        return lru_cache(maxsize=2)(read_images)

    @cached_property
    def _windows(self) -> Callable[[int], Images]:
        """Bins a frame at every shift, and keeps those of 256 frames."""

        def windows(frame: int) -> Images:
            return _bin(self.native(frame), self.sources[frame].path, self.shape, self.crop, self.jitter)

        return lru_cache(maxsize=256)(windows)

    @cached_property
    def _saturated(self) -> Callable[[int], NDArray[np.bool_]]:
        """Finds the saturated binned pixels of a frame at every shift, and keeps those of 256 frames."""

        def saturated(frame: int) -> NDArray[np.bool_]:
            pixels = self.native(frame) >= float(self.saturated_from[frame])
            return bin_windows(pixels, self.shape, self.crop, self.jitter) > 0

        return lru_cache(maxsize=256)(saturated)


def load_recording(
    images: Path | Sequence[Path], shape: tuple[int, int], *, crop: Crop | None = None, jitter: int = 1
) -> Recording:
    """Return the images of a folder, or of these files, as one recording.

    Each frame is binned by the largest whole number with which `shape` fits into it, or into its `crop`,
    around its middle. Frames of one number type share one scale, so that their relative brightness is kept.
    Files of a folder that hold no image are skipped.

    Raises:
        ValueError: no image with light, one smaller than `shape`, or a named file that cannot be read.
    """
    sources, types, skipped = [], [], []
    binned_peaks: dict[np.dtype[np.number], float] = defaultdict(float)
    native_peaks: dict[np.dtype[np.number], float] = defaultdict(float)
    totals, borders = [], []
    for found in read_recorded([images] if isinstance(images, Path) else images):
        if isinstance(found, SkippedFile):
            skipped.append(found)
            continue
        for page, image in enumerate(found.images):
            windows = _bin(image, found.path, shape, crop, jitter)
            middle = windows[len(windows) // 2]
            if middle.sum() <= 0 > image.min():
                reason = f"image {page + 1} has no light: its counts, from {image.min():g}, add up to none"
                skipped.append(SkippedFile(found.path.name, reason))
                continue
            binned_peaks[image.dtype] = max(binned_peaks[image.dtype], float(windows.max()))
            native_peaks[image.dtype] = max(native_peaks[image.dtype], float(image.max()))
            sources.append(FrameSource(found.path, page))
            types.append(image.dtype)
            totals.append(float(middle.sum()))
            borders.append(float(np.concatenate([*middle[[0, -1]], *middle[:, [0, -1]].T]).mean()))
    if not any(binned_peaks.values()):
        raise ValueError(
            f"no image with light in {images}{_reasons(skipped)}; known are {', '.join(SUFFIXES)}"
        )
    scale = np.array([1 / (binned_peaks[kind] or 1.0) for kind in types])
    levels = np.array([saturation_level(native_peaks[kind], kind) for kind in types])
    return Recording(
        sources=tuple(sources),
        shape=shape,
        crop=crop,
        jitter=jitter,
        scale=scale,
        total=scale * totals,
        border=scale * borders,
        saturated_from=levels,
        skipped=tuple(skipped),
    )


def find_frame(recording: Recording, name: str) -> int:
    """Return the first frame whose file name contains these digits.

    For example, `15:26:53` finds `cam2-06052023152653-1059.png`.

    Raises:
        ValueError: there is none.
    """
    wanted = _digits(name)
    for frame, source in enumerate(recording.sources):
        if wanted and wanted in _digits(source.path.stem):
            return frame
    raise ValueError(f"no recorded frame is of {name}")


def change_of_regime(recording: Recording) -> int | None:
    """Return the first frame after a change of brightness or background, or None if there is no change.

    It is the split at which the means before and after differ most, in standard errors of that difference
    (Welch's t), if they differ by more than ten of them.
    """
    scores = np.array([_split_scores(values) for values in (recording.total, recording.border)])
    if not scores.size or scores.max() < _CHANGE_SIGMAS:
        return None
    return _FEWEST_FRAMES + int(scores.max(axis=0).argmax())


def bin_windows(
    image: Picture | NDArray[np.bool_], shape: tuple[int, int], crop: Crop | None, jitter: int
) -> Images:
    """Return an image binned (mean) to `shape`, once for every whole-pixel shift: (shifts, height, width).

    It is shifted before binning and never interpolated, because smoothed noise would reveal the shift.

    Raises:
        ValueError: the image, or its crop, is too small.
    """
    if crop is not None:
        top, left, high, wide = crop
        image = image[top : top + high, left : left + wide]
    height, width = shape
    factor = min((image.shape[0] - 2 * jitter) // height, (image.shape[1] - 2 * jitter) // width)
    if factor < 1:
        least = f"{height + 2 * jitter} x {width + 2 * jitter} px, {jitter} of them at each edge for shifts"
        raise ValueError(f"{image.shape[0]} x {image.shape[1]} px is too small: it must have {least}")
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


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _reasons(skipped: Sequence[SkippedFile]) -> str:
    """Return the first reasons, for a folder in which all files were skipped."""
    return "".join(f"; {file.name}: {file.reason}" for file in skipped[:_MOST_REASONS])


def _bin(image: Picture, path: Path, shape: tuple[int, int], crop: Crop | None, jitter: int) -> Images:
    try:
        return bin_windows(image, shape, crop, jitter)
    except ValueError as error:
        raise ValueError(f"{printable(path.name)}: {error}") from error


def _split_scores(values: Floats) -> Floats:
    """Return Welch's t of every split that leaves at least five frames on both sides."""
    before = np.arange(_FEWEST_FRAMES, len(values) - _FEWEST_FRAMES + 1)
    if not len(before) or not values.std():
        return np.zeros(len(before))
    values = (values - values.mean()) / values.std()
    after = len(values) - before
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    mean1, mean2 = sums[before - 1] / before, (sums[-1] - sums[before - 1]) / after
    variance1 = squares[before - 1] / before - mean1**2
    variance2 = (squares[-1] - squares[before - 1]) / after - mean2**2
    # 1e-12 keeps the score finite where the values on both sides are constant.
    scores: Floats = np.abs(mean2 - mean1) / np.sqrt(variance1 / before + variance2 / after + 1e-12)
    return scores
