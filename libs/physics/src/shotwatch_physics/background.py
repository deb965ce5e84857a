"""The light-free level of a frame and its noise, estimated from the frame's border.

The model (ISO/TR 11146-3, baseline correction) is a plane through the frame and one noise:

    level(x, y) = level + across (x - x₀) + down (y - y₀),    (x₀, y₀) the frame's centre.

It is fitted to the border, in square cells whose mean and variance stand for their pixels:

1. A first plane, through the cells within three robust standard deviations of the median. It locates the
   beam roughly.
2. Cells nearer to that beam than 3.5 of its standard deviations are beam, and left out.
3. A plane through the others, refitted to those within three standard deviations of it. That sets aside
   defects, and stray light or smear that crosses the border.

A tilt counts only as far as it exceeds its noise (`surface`): an even background has exactly one level.

A beam that fills the frame leaves no dark border. The cells that are furthest from it stand in then: the
light that reaches them is taken for background, and the beam is measured too faint and too small. A tilt
cannot be told from the beam's wings there, so it fades out as the beam takes a quarter to a half of the
border.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.defects import replace_hot_pixels
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import Image, Images, moments_of_lit, principal_axes, spread_of
from shotwatch_physics.surface import fit_surface

BORDER_SHARE = 0.035
"""Width of the border, and side of its cells, over the frame's shorter side (ISO/TR 11146-3: 2 % to 5 %)."""
UNLIT_SIGMAS = 3.0
"""What is further from the background is lit or defective (ISO/TR 11146-3 takes 2 to 4)."""
LIT_SIGMAS = 6.0
"""Pixels further above the level are lit: noise alone gets there in one frame of 13,000 pixels in 10⁵."""
LIT_SHARE = 0.02
"""Share of the frame's peak below which light does not decide where a beam is sought."""
STEP = 1.0
"""The camera's own step (counts): no border is taken to be quieter."""
BEAM_SIGMAS = 4.0
"""A Gaussian has 0.2 % of its peak here."""
FURTHEST = 0.9
"""Border beyond this share of the largest distance from the beam is never left out."""
FEWEST_DARK, MOST_DARK = 0.5, 0.75
"""Shares of the border without beam between which a tilt fades in."""
REFITS = 2
ROUNDS = 5
CELLS_TOGETHER = 2


@dataclass(frozen=True, slots=True)
class Background:
    """A plane per frame, and the standard deviation of the unlit border about it (counts)."""

    level: FloatArray
    """At the frame's centre, and so the plane's mean over the frame: (n,)."""
    noise: FloatArray
    """(n,)."""
    tilt: FloatArray = field(default_factory=lambda: np.zeros((1, 2)))
    """Counts per px to the right and down: (n, 2), or (1, 2) for all frames."""

    @property
    def faintest_light(self) -> FloatArray:
        """The count above which a pixel at the frame's centre is lit: (n,)."""
        return self.level + LIT_SIGMAS * np.maximum(self.noise, STEP)

    def of(self, frames: NDArray[np.bool_]) -> "Background":
        """Return the background of some of the frames; `frames` (n,) says which."""
        return Background(self.level[frames], self.noise[frames], self.tilt[frames])

    def plane(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the level of each pixel (n, h, w), or (n, 1, 1) when no frame is tilted."""
        level = self.level.astype(np.float32)[:, None, None]
        if not self.tilt.any():
            return level
        across, down = self.tilt.astype(np.float32).T[:, :, None, None]
        columns = across * np.arange(width, dtype=np.float32) - across * np.float32((width - 1) / 2)
        rows = down * np.arange(height, dtype=np.float32)[:, None] - down * np.float32((height - 1) / 2)
        plane: NDArray[np.float32] = (level + rows) + columns
        return plane


@dataclass(frozen=True, slots=True)
class Survey:
    """What frames have beside their beams."""

    background: Background
    cleaned: Images
    """The frames (n, h, w), with the mean of their neighbours in the place of hot pixels."""
    hot_pixels: FloatArray
    """How many each frame has: (n,)."""


def estimate_background(images: Images) -> Background:
    """Return the plane of each frame (n, h, w) and the noise about it."""
    return survey(images).background


def survey(images: Images) -> Survey:
    """Return the background and the hot pixels of frames (n, h, w)."""
    level, noise, tilt = np.empty(len(images)), np.empty(len(images)), np.empty((len(images), 2))
    cleaned, hot_pixels = np.array(images, order="C"), np.zeros(len(images))
    _survey_frames(np.ascontiguousarray(images), cleaned, hot_pixels, level, noise, tilt)
    return Survey(Background(level, noise, tilt), cleaned, hot_pixels)


@njit(cache=True, nogil=True)
def faintest_of_beam(peak: float, noise: float) -> float:
    """Return the light above background that decides where a beam is sought: more than noise, and than a glow."""
    return max(LIT_SIGMAS * max(noise, STEP), LIT_SHARE * peak)


@njit(cache=True, nogil=True)
def cell_size(height: int, width: int) -> int:
    """Return the side of a cell (px)."""
    return max(1, round(BORDER_SHARE * min(height, width)))


@njit(cache=True, nogil=True)
def cell_edges(length: int, size: int) -> NDArray[np.int64]:
    """Return where cells of about `size` px begin along `length`, and where the last one ends."""
    count = max(1, round(length / size))
    return np.arange(count + 1) * length // count


@njit(cache=True, nogil=True)
def cell_sums(frame: Image, top: int, bottom: int, left: int, right: int) -> tuple[int, int]:
    """Return Σ I and Σ I² of a cell."""
    light, squares = 0, 0
    for row in range(top, bottom):
        for column in range(left, right):
            count = np.int64(frame[row, column])
            light += count
            squares += count * count
    return light, squares


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
    level: FloatArray,
    noise: FloatArray,
    tilt: FloatArray,
) -> None:
    """Fill level (n,), noise (n,), tilt (n, 2) and hot_pixels (n,), and clean the frames."""
    for index in range(len(images)):
        places, means, variances, pixels = _cells(images[index])
        quiet = max(np.sqrt(_quantile(variances, 0.1)), STEP)
        hot_pixels[index] = replace_hot_pixels(images[index], quiet, cleaned[index])
        level[index], tilt[index], noise[index] = _estimate(
            cleaned[index], places, means, variances, pixels, quiet
        )


@njit(cache=True, nogil=True)
def _estimate(
    frame: Image,
    places: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    pixels: FloatArray,
    quiet: float,
) -> tuple[float, FloatArray, float]:
    """Return level, tilt (2,) and noise of a frame, of whose cells half have no more noise than `quiet`."""
    height, width = frame.shape
    x, y = places[:, 1] + (width - 1) / 2, places[:, 2] + (height - 1) / 2
    outermost = (np.abs(places[:, 1]) >= places[:, 1].max()) | (np.abs(places[:, 2]) >= places[:, 2].max())
    brightest = float(frame.max())
    dark = np.ones(len(means), np.bool_)
    level, tilt, noise = _fit_plane(places, means, variances, pixels, dark, 1.0)
    level += _quantile(means - level - places[:, 1] * tilt[0] - places[:, 2] * tilt[1], 0.025)
    for _ in range(ROUNDS):
        faintest = faintest_of_beam(brightest - level, quiet)
        beam = spread_of(moments_of_lit(frame, tilted(level, tilt, height, width), faintest))
        dark = _away_from(beam, x, y)
        share = (dark & outermost).sum() / outermost.sum()
        weight = min(max((share - FEWEST_DARK) / (MOST_DARK - FEWEST_DARK), 0.0), 1.0)
        level, tilt, noise = _fit_plane(places, means, variances, pixels, dark, weight)
        if weight == 1:
            break
    return level, tilt, noise


@njit(cache=True, nogil=True)
def _cells(frame: Image) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return all cells of a frame: places (m, 3) as 1, x and y from its centre; means, variances, pixels (m,)."""
    height, width = frame.shape
    size = CELLS_TOGETHER * cell_size(height, width)
    rows, columns = cell_edges(height, size), cell_edges(width, size)
    across = len(columns) - 1
    count = (len(rows) - 1) * across
    places, means, variances, pixels = np.ones((count, 3)), np.empty(count), np.empty(count), np.empty(count)
    for down in range(len(rows) - 1):
        light, squares = _column_sums(frame[rows[down] : rows[down + 1]])
        for right in range(across):
            cell = down * across + right
            first, stop = columns[right], columns[right + 1]
            pixels[cell] = (rows[down + 1] - rows[down]) * (stop - first)
            means[cell] = light[first:stop].sum() / pixels[cell]
            variances[cell] = squares[first:stop].sum() / pixels[cell] - means[cell] ** 2
            places[cell, 1] = (first + stop - width) / 2
            places[cell, 2] = (rows[down] + rows[down + 1] - height) / 2
    return places, means, variances, pixels


@njit(cache=True, nogil=True)
def _column_sums(strip: Image) -> tuple[FloatArray, FloatArray]:
    """Return Σ I and Σ I² of each column (w,): exact, as float64 adds whole numbers up to 2⁵³."""
    light, squares = np.zeros(strip.shape[1]), np.zeros(strip.shape[1])
    for row in range(strip.shape[0]):
        for column in range(strip.shape[1]):
            count = float(strip[row, column])
            light[column] += count
            squares[column] += count * count
    return light, squares


@njit(cache=True, nogil=True)
def _quantile(values: FloatArray, share: float) -> float:
    return np.sort(values)[round(share * (len(values) - 1))]


@njit(cache=True, nogil=True)
def _away_from(beam: FloatArray, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Return which places (m,) are too far from the beam (5,) to be lit by it; all, without a beam."""
    if np.isnan(beam[0]):
        return np.ones(len(x), np.bool_)
    right, down = x - beam[0], y - beam[1]
    major, minor, angle = principal_axes(beam[2], beam[3], beam[4])
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    sigmas = np.sqrt(along**2 / max(major, 1.0) + across**2 / max(minor, 1.0))
    return sigmas >= min(BEAM_SIGMAS, FURTHEST * sigmas.max())


@njit(cache=True, nogil=True)
def _fit_plane(
    places: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    pixels: FloatArray,
    candidates: NDArray[np.bool_],
    tilt_weight: float,
) -> tuple[float, FloatArray, float]:
    """Return level, tilt and noise of those candidates among the cells (m,) that agree on a plane."""
    low, median = _quantile(means[candidates], 0.1587), _quantile(means[candidates], 0.5)
    heights = means - median
    kept = candidates & (np.abs(heights) <= UNLIT_SIGMAS * (median - low))
    for _ in range(REFITS + 1):
        plane = fit_surface(places[kept], heights[kept], pixels[kept], 1)
        plane[1:] *= tilt_weight
        slope = places[:, 1] * plane[1] + places[:, 2] * plane[2]
        plane[0] = ((heights - slope) * pixels)[kept].sum() / pixels[kept].sum()
        squares = (heights - slope - plane[0]) ** 2
        deviation = np.sqrt((squares * pixels)[kept].sum() / pixels[kept].sum())
        used = kept
        kept = candidates & (squares <= (UNLIT_SIGMAS * deviation) ** 2)
    noise = np.sqrt((((squares + variances) * pixels)[used]).sum() / pixels[used].sum())
    return median + plane[0], plane[1:], noise
