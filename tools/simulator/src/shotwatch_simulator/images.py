"""The definition of an image: frames from arrays of any number type and shape, or a reason for refusal."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.number]
"""One recorded image: (height, width), finite integers or floats."""

MOST_PIXELS = 1 << 27
"""Limit for all frames of one file together: 96 frames of 1024 x 1392 px, or 10,000 of 102 x 128."""
MEMORY_BYTES = 2 << 30
SECONDS_PER_FILE = 60
"""Limits for the process that decodes files."""
FAINTEST, BRIGHTEST = 1e-30, 1e30
"""Limits for the range of values in a frame, so that sums and scales are finite in single precision."""

MOST_ELONGATED = 4
"""Ratio of the sides of a stack's frames above which its axes are assumed to be in another order."""

_LUMINANCE = (299, 587, 114)
"""Weights of red, green and blue in thousandths (ITU-R BT.601)."""
_DEPTHS = (8, 10, 12, 14, 16)
_FULL_SCALES = {(2**depth - 1) << (word - depth) for word in _DEPTHS for depth in _DEPTHS if depth <= word}
"""The highest counts of cameras of these bit depths, unchanged or shifted left to another of the depths."""


class NotAnImage(ValueError):
    """An array or a file is not an image. The message is the reason, including the shape."""


def frames_of(array: NDArray[Any]) -> list[Picture]:
    """Return the frames of an array as NumPy users store them.

    The array is one image (h, w) or (h, w, 1), one colour image (h, w, 3 or 4), or a stack (n, h, w) with
    frames in order. Colours become their luminance, and a fourth channel is ignored.

    Raises:
        NotAnImage: other dimensions or number types, or a frame that `checked` refuses.
    """
    require_numbers(array.shape, array.dtype)
    match array.shape:
        case (_, _) | (_, _, 1):
            return [checked(array.reshape(array.shape[:2]))]
        case (_, _, 3 | 4):
            return [checked(luminance(array))]
        case (_, height, width) if width > 4:
            if max(height, width) > MOST_ELONGATED * min(height, width):
                raise NotAnImage(
                    f"{described(array.shape, array.dtype)} would be frames of {height} x {width} px;"
                    " save a stack as (frames, h, w)"
                )
            return [checked(frame) for frame in array]
    raise NotAnImage(
        f"{described(array.shape, array.dtype)} is neither an image (h, w), (h, w, 1) or (h, w, 3),"
        " nor a stack (frames, h, w)"
    )


def frames_of_matlab(array: NDArray[Any]) -> list[Picture]:
    """Return the frames of a MATLAB matrix: one image (h, w), or a stack (h, w, n) as `cat(3, …)` makes it.

    Raises:
        NotAnImage: as for `frames_of`; also for three or four pages, which can be colours as well as frames.
    """
    require_numbers(array.shape, array.dtype)
    match array.shape:
        case (_, _):
            return [checked(array)]
        case (_, _, 3 | 4):
            raise NotAnImage(
                f"{described(array.shape, array.dtype)} can be colours or frames; save it as a matrix (h, w),"
                " or as NPY: (h, w, 3) for colours, (frames, h, w) for frames"
            )
        case (_, _, pages):
            return [checked(array[:, :, page]) for page in range(pages)]
    raise NotAnImage(
        f"{described(array.shape, array.dtype)} is neither a matrix (h, w) nor a stack (h, w, frames)"
    )


def require_numbers(shape: Sequence[int], dtype: np.dtype[np.generic]) -> None:
    """Raise an error, before anything is decoded, if the array cannot be an image.

    Raises:
        NotAnImage: no integers or floats, no values, or more than `MOST_PIXELS`.
    """
    if dtype.kind not in "uif":
        raise NotAnImage(f"{described(shape, dtype)} has neither integers nor real numbers")
    if min(shape, default=1) <= 0:
        raise NotAnImage(f"{described(shape, dtype)} is empty")
    require_few(shape, dtype)


def require_few(shape: Sequence[int], kind: object) -> None:
    """Raise an error if there are more than `MOST_PIXELS` values.

    Raises:
        NotAnImage: there are more.
    """
    if math.prod(shape) > MOST_PIXELS:
        raise NotAnImage(f"{described(shape, kind)} has more than {MOST_PIXELS:,} values")


def checked(frame: Picture) -> Picture:
    """Return the frame (h, w) if it can be a picture.

    Raises:
        NotAnImage: a single row or column, pixels that are no numbers, or values out of range.
    """
    if min(frame.shape) < 2:
        raise NotAnImage(f"{described(frame.shape, frame.dtype)} is a line, not an image")
    low, high = float(frame.min()), float(frame.max())
    if not np.isfinite([low, high]).all():
        raise NotAnImage(f"{described(frame.shape, frame.dtype)} has pixels that are no numbers")
    if max(-low, high) > BRIGHTEST or 0 < high - low < FAINTEST:
        raise NotAnImage(f"{described(frame.shape, frame.dtype)} has values from {low:g} to {high:g}")
    return frame


def luminance(colours: NDArray[Any]) -> Picture:
    """Return the luminance (h, w) of an image (h, w, 3 or 4) of red, green and blue, in its own number type.

    A pixel with a channel at the limit of an integer type gets that limit, so that saturation stays visible.
    """
    weighted = colours[..., :3] @ np.array(_LUMINANCE, np.float64) / sum(_LUMINANCE)
    if colours.dtype.kind == "f":
        return weighted.astype(colours.dtype)
    limit = np.iinfo(colours.dtype).max
    grey = np.full(weighted.shape, limit, colours.dtype)
    below = (colours[..., :3] < limit).all(axis=-1)
    grey[below] = np.rint(weighted[below])
    return grey


def saturation_level(brightest: float, dtype: np.dtype[Any]) -> float:
    """Return the count from which pixels are saturated, infinity if none is.

    Pixels are saturated at the brightest value of a recording in two cases. It is the highest value of a
    camera of 8, 10, 12, 14 or 16 bits, unchanged or shifted left to another of these depths. Or it is the
    highest value of the recording's integer type.
    """
    is_limit = dtype.kind in "ui" and brightest == np.iinfo(dtype).max
    return brightest if is_limit or brightest in _FULL_SCALES else np.inf


def described(shape: Sequence[int], kind: object) -> str:
    """Return `102 x 128 x 3 uint8` for a shape and a number type."""
    return f"{' x '.join(map(str, shape)) or 'a single'} {kind}"
