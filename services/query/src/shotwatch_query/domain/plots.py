"""Plots of spectra as a line with axes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shotwatch_common.printable import printable
from shotwatch_query.domain.frames import png_bytes

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 30, 50
"""Margins, in px."""
OVERSAMPLING = 2
"""Factor by which the plot is drawn larger and then reduced, which smooths the line."""
INK, GRID, LINE = "#222222", "#dddddd", "#1f4e9c"

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values along a range of pixels."""

    low: float
    high: float
    first: float
    last: float

    def pixels(self, values: Doubles) -> Doubles:
        return self.first + (values - self.low) / (self.high - self.low) * (self.last - self.first)

    @property
    def ticks(self) -> Doubles:
        """Round values: multiples of 1, 2 or 5 times a power of ten, about five of them."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** np.floor(np.log10(rough))
        step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
        ticks: Doubles = np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step
        return ticks + 0.0  # no minus zero


def spectrum_png(spectrum: NDArray[np.float32], title: str, unit: str) -> bytes:
    """Plot intensity (`unit`) over sample number as PNG; samples that are not finite leave a gap."""
    size = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    intensities = spectrum.astype(np.float64)
    across = _axis(np.array([0.0, len(spectrum) - 1.0]), LEFT, WIDTH - RIGHT)
    up = _axis(np.append(intensities, 0.0), HEIGHT - BOTTOM, TOP)
    _draw_grid(draw, across, up)
    for points in _runs(intensities, across, up):
        draw.line(points, LINE, width=2 * OVERSAMPLING - 1)
    _text(draw, WIDTH / 2, TOP / 2, title, "mm")
    _text(draw, WIDTH / 2, HEIGHT - 12, "sample", "mm")
    _text(draw, 12, TOP / 2, unit, "lm")
    return png_bytes(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def _axis(values: Doubles, first: float, last: float) -> Axis:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    return Axis(low, high if high > low else low + 1, first * OVERSAMPLING, last * OVERSAMPLING)


def _draw_grid(draw: ImageDraw.ImageDraw, across: Axis, up: Axis) -> None:
    for value, x in zip(across.ticks, across.pixels(across.ticks), strict=True):
        draw.line([(x, up.first), (x, up.last)], GRID)
        _text(draw, x / OVERSAMPLING, HEIGHT - BOTTOM + 6, f"{value:g}", "mt")
    for value, y in zip(up.ticks, up.pixels(up.ticks), strict=True):
        draw.line([(across.first, y), (across.last, y)], GRID)
        _text(draw, LEFT - 6, y / OVERSAMPLING, f"{value:g}", "rm")
    draw.rectangle([across.first, up.last, across.last, up.first], outline=INK)


def _runs(intensities: Doubles, across: Axis, up: Axis) -> list[list[tuple[float, float]]]:
    """Return the line's points (px), one list for each run of finite samples."""
    finite = np.flatnonzero(np.isfinite(intensities))
    runs = np.split(finite, np.flatnonzero(np.diff(finite) > 1) + 1)
    return [
        list(zip(across.pixels(run.astype(float)), up.pixels(intensities[run]), strict=True)) for run in runs
    ]


def _text(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, anchor: str) -> None:
    font = ImageFont.load_default(12 * OVERSAMPLING)
    draw.text((x * OVERSAMPLING, y * OVERSAMPLING), printable(text), INK, font, anchor)
