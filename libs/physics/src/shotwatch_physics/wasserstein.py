"""Sliced 1-Wasserstein distance between frames: how far light must be moved to turn one frame into the other.

A frame is a distribution of light over its pixels. It is projected onto a line (a slice), where the distance
is the area between the two cumulative distributions. The mean over the directions of the line is the sliced
distance (Bonneel, Rabin, Peyré, Pfister, J. Math. Imaging Vis. 51, 2015, with p = 1).

The positions of the pixels are the same in every frame, so they are sorted once per slice for all frames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from shotwatch_physics.feature import IN_LANES, FloatArray

Light = NDArray[Any]
"""Frames (n, h, w) or one frame (h, w): light above background, integers or floats ≥ 0, in any unit."""

SLICES = 64
"""The error of this many equispaced slices is below 0.01 %, that of 3,000 random ones up to 0.6 %
(tools/bench/distances.py).
"""

_VALUES_AT_ONCE = 2**20
"""Limits the memory of a matrix: a few arrays of this many float64 for the slices that are made at once."""
_FRAMES_AT_ONCE = 32
"""Number of frames whose light is moved side by side."""
_POSITIONS_AT_ONCE = 64
"""Number of positions for which the cumulative distributions of 50 frames fit into the fastest cache."""


@dataclass(frozen=True, slots=True)
class Slices:
    """The pixels of frames of one shape, projected onto some lines."""

    shape: tuple[int, int]
    """Height and width of the frames (px)."""
    order: NDArray[np.int32]
    """Flat indices of the pixels from one end of the line to the other: (slices, h·w)."""
    gap: FloatArray
    """Distance on the line from each pixel to the next (px): (slices, h·w - 1)."""


def equispaced_angles(slices: int = SLICES) -> FloatArray:
    """Return directions of lines (rad, from x towards y) that divide [0, π) evenly: (slices,)."""
    return np.linspace(0, np.pi, slices, endpoint=False)


def random_angles(slices: int, seed: int) -> FloatArray:
    """Return directions of lines (rad) drawn uniformly from the half circle [0, π): (slices,)."""
    return np.random.default_rng(seed).uniform(0, np.pi, slices)


def make_slices(shape: tuple[int, int], angles: FloatArray) -> Slices:
    """Project the pixels of frames of a shape (h, w) onto lines with these directions (rad), (slices,).

    Raises:
        ValueError: a frame of this shape has no pixel, or the angles are not at least one finite number.
    """
    if min(shape) < 1:
        raise ValueError(f"a frame of shape {shape} has no pixel")
    if angles.ndim != 1 or not angles.size or not np.isfinite(angles).all():
        raise ValueError("angles must be (slices,) finite numbers, at least one")
    y, x = np.indices(shape).reshape(2, -1)
    position = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y
    order = np.argsort(position, axis=1, kind="stable")  # fast on the presorted rows of pixels
    gap = np.diff(np.take_along_axis(position, order, axis=1), axis=1)
    return Slices(shape, order.astype(np.int32), gap)


def distances_to(reference: Light, images: Light, slices: Slices) -> FloatArray:
    """Return the distance of each frame (n, h, w) to a reference (h, w): (n,) px, ≥ 0.

    A frame's distance does not depend on the other frames, to the last bit. It is NaN for a frame without
    light or with a pixel that is not finite, and for every frame if the reference is such a one. It does not
    depend on the amount of light. The function runs on one core.

    Raises:
        ValueError: pixels are negative, or not of the shape that the slices are for.
    """
    if reference.shape != slices.shape or images.shape[1:] != slices.shape:
        raise ValueError(f"frames are {reference.shape} and {images.shape}, the slices for {slices.shape}")
    mass = _mass(reference[None])
    distances = np.empty(len(images))
    for start in range(0, len(images), _FRAMES_AT_ONCE):
        chunk = slice(start, start + _FRAMES_AT_ONCE)
        surplus = np.ascontiguousarray((_mass(images[chunk]) - mass).T)
        distances[chunk] = _mean_distances(surplus, slices.order, slices.gap)
    return distances


def distance_matrix(
    images: Light, angles: FloatArray, progress: Callable[[int], None] | None = None
) -> FloatArray:
    """Return the distances between frames (n, h, w): (n, n) px, symmetric, ≥ 0, with a diagonal of zeros.

    Distances to a frame without light, or with a pixel that is not finite, are NaN. The result does not
    depend on the amount of light in a frame, nor on the number of threads, which is set by numba's
    configuration.

    Args:
        images: all of one shape.
        angles: (slices,) rad.
        progress: called with the number of slices that were added to the finished ones.

    Raises:
        ValueError: pixels are negative, or shapes are not as above.
    """
    mass = np.ascontiguousarray(_mass(images).T)
    total = np.zeros((len(images), len(images)))
    at_once = max(get_num_threads(), _VALUES_AT_ONCE // max(len(mass), total.size))
    for start in range(0, max(1, len(angles)), at_once):
        slices = make_slices(images.shape[1:], angles[start : start + at_once])
        for distances in _pairwise_distances(mass, slices.order, slices.gap):
            total += distances
        if progress:
            progress(len(slices.order))
    return (total + total.T) / len(angles)


def _mass(images: Light) -> FloatArray:
    """Return each frame's light as a distribution over its pixels: (n, h·w), sums 1; NaN without light."""
    if images.ndim != 3 or 0 in images.shape[1:] or images.dtype.kind not in "uif":
        raise ValueError(f"frames must be (n, h, w) numbers, not {images.shape} {images.dtype}")
    count, height, width = images.shape
    light = images.reshape(count, height * width).astype(np.float64)
    light[~np.isfinite(light).all(axis=1)] = 0
    if (light < 0).any():
        raise ValueError("light is never negative: take the background away and cut at zero")
    relative = _share(light, light.max(axis=1, keepdims=True))  # so that no sum overflows
    return _share(relative, relative.sum(axis=1, keepdims=True))


def _share(light: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(light, whole, out=np.full_like(light, np.nan), where=whole > 0)


@njit(cache=True, nogil=True)
def _mean_distances(surplus: FloatArray, order: NDArray[np.int32], gap: FloatArray) -> FloatArray:
    """Return the mean over slices of the light that lies too far along the line, times its distance back.

    `surplus` is the light of each pixel of n frames minus that of the reference: (h·w, n). The loop takes
    four positions at a time, so that `ahead` and `distance` are read and written once for all four.
    """
    frames, steps = surplus.shape[1], gap.shape[1]
    in_fours = steps - steps % 4
    total, distance, ahead = np.zeros(frames), np.empty(frames), np.empty(frames)
    for each in range(len(order)):
        distance[:], ahead[:] = 0, 0
        pixel, length = order[each], gap[each]
        for at in range(0, in_fours, 4):
            pixels = (
                surplus[pixel[at]],
                surplus[pixel[at + 1]],
                surplus[pixel[at + 2]],
                surplus[pixel[at + 3]],
            )
            lengths = length[at], length[at + 1], length[at + 2], length[at + 3]
            for frame in range(frames):
                here = ahead[frame] + pixels[0][frame]
                moved = distance[frame] + lengths[0] * abs(here)
                here += pixels[1][frame]
                moved += lengths[1] * abs(here)
                here += pixels[2][frame]
                moved += lengths[2] * abs(here)
                here += pixels[3][frame]
                ahead[frame], distance[frame] = here, moved + lengths[3] * abs(here)
        for at in range(in_fours, steps):
            last, to_next = surplus[pixel[at]], length[at]
            for frame in range(frames):
                ahead[frame] += last[frame]
                distance[frame] += to_next * abs(ahead[frame])
        total += distance
    return total / len(order)


@njit(cache=True, nogil=True, parallel=True)
def _pairwise_distances(mass: FloatArray, order: NDArray[np.int32], gap: FloatArray) -> FloatArray:
    """Return distances in each slice between frames i < j, zero elsewhere: (slices, n, n).

    `mass` is (h·w, n).
    """
    distances = np.zeros((len(order), mass.shape[1], mass.shape[1]))
    for each in prange(len(order)):
        _add_distances(distances[each], mass, order[each], gap[each])
    return distances


@njit(cache=True, nogil=True)
def _add_distances(
    distances: FloatArray, mass: FloatArray, order: NDArray[np.int32], gap: FloatArray
) -> None:
    """Walk along one slice, some positions at a time, and add the area between each two distributions."""
    frames = mass.shape[1]
    passed = np.zeros(frames)
    for start in range(0, len(gap), _POSITIONS_AT_ONCE):
        cumulative = np.zeros((frames, _POSITIONS_AT_ONCE))
        for n in range(min(_POSITIONS_AT_ONCE, len(gap) - start)):
            passed += mass[order[start + n]]
            cumulative[:, n] = passed * gap[start + n]
        for i in range(frames):
            for j in range(i + 1, frames):
                distances[i, j] += _summed_difference(cumulative[i], cumulative[j])


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _summed_difference(one: FloatArray, other: FloatArray) -> float:
    """Return Σ |one - other|."""
    total = 0.0
    for n in range(one.size):
        total += abs(one[n] - other[n])
    return total
