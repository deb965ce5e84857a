"""The light-free level of a frame and its noise, estimated from the pixels that the beam does not light.

The model (ISO/TR 11146-3, baseline correction with the mean of the unlit pixels) is a plane and one noise:

    level(x, y) = level + across (x - x₀) + down (y - y₀),    (x₀, y₀) the frame's centre.

It is fitted to square cells of 7 % of the frame's shorter side, whose mean and variance represent their
pixels:

1. A plane through the cells near their median, lowered to the darkest cells, locates the beam roughly.
2. Cells nearer to that beam than four of its standard deviations are lit, and left out.
3. A plane is fitted to the other cells, and fitted again to those within three standard deviations of it.
   This rejects stray light, smear and defects. If the beam covers a large part of the frame's edge, the beam
   is located again with this plane, until the set of cells no longer changes.

A tilt counts only as far as it exceeds its noise (`surface`): an even background has exactly one level.

A beam that fills the frame leaves no dark cells. Then the cells furthest from it are used instead. The light
that reaches them counts as background, so the beam is measured too faint and too small. There, a tilt cannot
be distinguished from the beam's wings: it fades out as the beam covers 80 % to 95 % of the frame's edge.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.cells import Cells, measure_cells
from shotwatch_physics.defects import replace_hot_pixels
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import (
    Image,
    Images,
    brightest_of_rows,
    moments_of_lit,
    principal_axes,
    spread_of,
)
from shotwatch_physics.surface import fit_surface, weighted_mean

Mask = NDArray[np.bool_]

UNLIT_SIGMAS = 3.0
"""Light further than this from the background is lit or a defect (ISO/TR 11146-3 uses 2 to 4)."""
LIT_SIGMAS = 6.0
"""Pixels further above the level are lit. Noise alone exceeds it in one of 10⁵ frames of 13,000 pixels."""
LIT_SHARE = 0.02
"""Share of the frame's peak below which light does not affect the search for the beam."""
STEP = 1.0
"""The smallest step of the camera (counts): the noise of a background is at least this."""
BEAM_SIGMAS = 4.0
"""At this distance a Gaussian has less than 10⁻³ of its peak."""
FURTHEST = 0.9
"""Cells beyond this share of the largest distance from the beam are never left out."""
FEWEST_DARK, MOST_DARK = 0.05, 0.2
"""Shares of the frame's edge without beam between which a tilt fades in."""
REFITS = 2
ROUNDS = 5
"""Largest number of times that a beam is located; two or three are usual for a beam that reaches the edge."""
ONE_SIGMA_BELOW = 0.1587
"""Share of a normal distribution that is below its mean - σ."""
DARKEST = 0.025
"""Share of the cells below the level at which the first search starts: mean - 2σ if only noise differs."""
QUIETEST = 0.1
"""Share of the cells whose variance is only noise: most of the others may contain a beam's slopes."""


@dataclass(frozen=True, slots=True)
class Background:
    """A plane per frame, and the standard deviation of the unlit pixels about it (counts)."""

    level: FloatArray
    """The level at the frame's centre, which is the plane's mean over the frame: (n,)."""
    noise: FloatArray
    """(n,)."""
    tilt: FloatArray = field(default_factory=lambda: np.zeros((1, 2)))
    """Counts per px to the right and down: (n, 2), or (1, 2) for all frames."""
    pixel_noise: FloatArray = field(default_factory=lambda: np.zeros(1))
    """Standard deviation within an unlit cell, median of the cells (counts): (n,), or (1,) for all frames.

    It is less than `noise` if the background is not a plane, or if some cells have defects.
    """

    @property
    def faintest_light(self) -> FloatArray:
        """The count above which a pixel at the frame's centre is lit: (n,)."""
        return self.level + LIT_SIGMAS * np.maximum(self.noise, STEP)

    def of(self, frames: Mask) -> "Background":
        """Return the background of the frames that `frames` (n,) selects."""
        return Background(self.level[frames], self.noise[frames], self.tilt[frames], self.pixel_noise[frames])

    def plane(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the level of each pixel (n, h, w), or (n, 1, 1) when no frame is tilted."""
        level = self.level.astype(np.float32)[:, None, None]
        if not self.tilt.any():
            return level
        across, down = self.tilt.astype(np.float32).T[:, :, None, None]
        columns = across * (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2))
        rows = down * (np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2))
        plane: NDArray[np.float32] = (level + rows) + columns
        return plane


@dataclass(frozen=True, slots=True)
class Survey:
    """The background and the defects of frames."""

    background: Background
    cleaned: Images
    """The frames (n, h, w), with hot pixels replaced by the mean of their neighbours."""
    hot_pixels: FloatArray
    """Number of hot pixels in each frame: (n,)."""
    total: FloatArray
    """Σ counts of each cleaned frame: (n,)."""


def estimate_background(images: Images) -> Background:
    """Return the plane of each frame (n, h, w) and the noise about it."""
    return survey(images).background


def survey(images: Images) -> Survey:
    """Return the background and the hot pixels of frames (n, h, w)."""
    level, noise, pixel_noise, hot_pixels, total = np.zeros((5, len(images)))
    tilt, cleaned = np.empty((len(images), 2)), np.array(images, order="C")
    _survey_frames(np.ascontiguousarray(images), cleaned, hot_pixels, total, level, noise, pixel_noise, tilt)
    return Survey(Background(level, noise, tilt, pixel_noise), cleaned, hot_pixels, total)


@njit(cache=True, nogil=True)
def faintest_of_beam(peak: float, noise: float) -> float:
    """Return the light above background (counts) that counts in the search for a beam.

    It is more than noise, and more than a glow of 2 % of the peak.
    """
    return max(LIT_SIGMAS * max(noise, STEP), LIT_SHARE * peak)


@njit(cache=True, nogil=True)
def tilted(level: float, tilt: FloatArray, height: int, width: int) -> FloatArray:
    """Return a plane (3,) as counts at row 0 and column 0, per column, and per row."""
    across, down = tilt
    return np.array([level - across * (width - 1) / 2 - down * (height - 1) / 2, across, down])


@njit(cache=True, nogil=True)
def _survey_frames(
    images: Images,
    cleaned: Images,
    hot_pixels: FloatArray,
    total: FloatArray,
    level: FloatArray,
    noise: FloatArray,
    pixel_noise: FloatArray,
    tilt: FloatArray,
) -> None:
    """Fill level, noise, pixel_noise, hot_pixels and total, (n,) each, and tilt (n, 2); clean the frames."""
    for index in range(len(images)):
        cells = measure_cells(images[index])
        quiet = max(np.sqrt(_quantile(cells.variances, QUIETEST)), STEP)
        hot_pixels[index] = replace_hot_pixels(images[index], quiet, cleaned[index])
        if hot_pixels[index]:
            cells = measure_cells(cleaned[index])
        total[index] = cells.total
        fitted = _estimate(cleaned[index], cells, quiet)
        level[index], tilt[index], noise[index], pixel_noise[index] = fitted


@njit(cache=True, nogil=True)
def _estimate(frame: Image, cells: Cells, quiet: float) -> tuple[float, FloatArray, float, float]:
    """Return level, tilt (2,), noise and pixel noise of a frame with at least the noise `quiet` (counts)."""
    height, width = frame.shape
    from_centre_x, from_centre_y = cells.places[1], cells.places[2]
    at_edge = (np.abs(from_centre_x) >= from_centre_x.max()) | (np.abs(from_centre_y) >= from_centre_y.max())
    dark = np.ones(len(cells.means), np.bool_)
    level, tilt, noise, pixel_noise = _fit_plane(cells, dark, 1.0)
    # The first plane runs through the median, which may be lit. Lower it to the darkest cells.
    level += _quantile(cells.means - level - from_centre_x * tilt[0] - from_centre_y * tilt[1], DARKEST)
    brightest = brightest_of_rows(frame)
    for _ in range(ROUNDS):
        faintest = faintest_of_beam(brightest.max() - level, quiet)
        beam = spread_of(moments_of_lit(frame, brightest, tilted(level, tilt, height, width), faintest))
        before = dark
        dark = _away_from(beam, from_centre_x + (width - 1) / 2, from_centre_y + (height - 1) / 2)
        share = (dark & at_edge).sum() / at_edge.sum()
        tilt_weight = min(max((share - FEWEST_DARK) / (MOST_DARK - FEWEST_DARK), 0.0), 1.0)
        level, tilt, noise, pixel_noise = _fit_plane(cells, dark, tilt_weight)
        if tilt_weight == 1 or (dark == before).all():
            break
    return level, tilt, noise, pixel_noise


@njit(cache=True, nogil=True)
def _quantile(values: FloatArray, share: float) -> float:
    rank = round(share * (len(values) - 1))
    value: float = np.partition(values, rank)[rank]
    return value


@njit(cache=True, nogil=True)
def _away_from(beam: FloatArray, x: FloatArray, y: FloatArray) -> Mask:
    """Return which places (m,) are too far from the beam (5,) to be lit by it; all without a beam."""
    if np.isnan(beam[0]):
        return np.ones(len(x), np.bool_)
    right, down = x - beam[0], y - beam[1]
    major, minor, angle = principal_axes(beam[2], beam[3], beam[4])
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    sigmas = np.sqrt(along**2 / max(major, 1.0) + across**2 / max(minor, 1.0))
    away: Mask = sigmas >= min(BEAM_SIGMAS, FURTHEST * sigmas.max())
    return away


@njit(cache=True, nogil=True)
def _fit_plane(cells: Cells, candidates: Mask, tilt_weight: float) -> tuple[float, FloatArray, float, float]:
    """Return level, tilt (2,), noise and pixel noise of the candidates (m,) that lie on one plane."""
    places, sides, pixels = cells.places, cells.sides, cells.pixels
    of_candidates = cells.means[candidates]
    low, median = _quantile(of_candidates, ONE_SIGMA_BELOW), _quantile(of_candidates, 0.5)
    heights = cells.means - median
    kept = pixels * (candidates & (np.abs(heights) <= UNLIT_SIGMAS * (median - low)))
    for _ in range(1 + REFITS):
        fitted = kept
        plane = fit_surface(places, heights, fitted, 1)
        plane[1:] *= tilt_weight
        above_slope = heights - (places[1] * plane[1] + places[2] * plane[2])
        plane[0] = weighted_mean(above_slope, fitted)
        squares = (above_slope - plane[0]) ** 2
        variance = weighted_mean(squares, fitted)
        kept = pixels * (candidates & (squares <= UNLIT_SIGMAS**2 * variance))
        if (kept == fitted).all():
            break
    # A row of n pixels on a slope of 1 count/px has a variance of (n² - 1) / 12.
    of_tilt = ((sides[0] ** 2 - 1) * plane[1] ** 2 + (sides[1] ** 2 - 1) * plane[2] ** 2) / 12
    within = np.maximum(cells.variances - of_tilt, 0)
    noise = np.sqrt(weighted_mean(squares + within, fitted))
    return median + plane[0], plane[1:], noise, np.sqrt(_quantile(within[fitted > 0], 0.5))
