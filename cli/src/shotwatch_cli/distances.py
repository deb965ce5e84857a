"""Distances between frames: figures and the picture of the matrix."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.table import Table
from rich.text import Text

from shotwatch_cli.failures import Failure
from shotwatch_cli.output import styled, table

Distances = NDArray[np.float64]
"""(n, n) px; NaN from and to frames without light."""
Pair = tuple[int, int]

_SIDE = 640
_MARGIN = 48
_BAR = 24
_TICKS = 10
_DARK, _MIDDLE, _BRIGHT = "#000004", "#bb3754", "#fcffa4"
_UNKNOWN = "#999999"
_INK = "#222222"


@dataclass(frozen=True, slots=True)
class FrameComparison:
    """Frames and their distances, at least two of them with light.

    Raises:
        Failure: fewer than two frames have light.
    """

    names: tuple[str, ...]
    distances: Distances
    slices: int
    saturated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self._between).any():
            raise Failure("fewer than two frames have light above their noise")

    @property
    def nearest(self) -> Pair:
        return self._pair(int(np.nanargmin(self._between)))

    @property
    def farthest(self) -> Pair:
        return self._pair(int(np.nanargmax(self._between)))

    @property
    def means(self) -> Distances:
        """Each frame's mean distance to the others with light (px), NaN for a frame without light: (n,)."""
        known = np.isfinite(self.distances).sum(axis=1) - 1
        sums = np.nansum(self.distances, axis=1)
        means: Distances = np.divide(sums, known, out=np.full(len(sums), np.nan), where=known > 0)
        return means

    @property
    def outlier(self) -> int:
        """The frame with the largest mean distance to the others."""
        return int(np.nanargmax(self.means))

    @property
    def without_light(self) -> tuple[str, ...]:
        return tuple(name for name, mean in zip(self.names, self.means, strict=True) if np.isnan(mean))

    def record(self) -> dict[str, object]:
        outlier = self.outlier
        return {
            "frames": self.names,
            "slices": self.slices,
            "unit": "px",
            "nearest": self._pair_record(self.nearest),
            "farthest": self._pair_record(self.farthest),
            "outlier": {"frame": self.names[outlier], "mean_distance": float(self.means[outlier])},
            "without_light": self.without_light,
            "saturated": self.saturated,
        }

    def shown(self) -> Table:
        title = f"{len(self.names)} frames in {self.slices} slices"
        if self.without_light:
            title += f"; without light: {', '.join(self.without_light)}"
        if self.saturated:
            title += f"; saturated: {', '.join(self.saturated)}"
        return table(title, ("", "frames", "distance (px)#"), self._rows())

    def _rows(self) -> Iterator[tuple[str, str | Text, str]]:
        for what, pair in (("nearest", self.nearest), ("farthest", self.farthest)):
            yield what, styled("\n".join(map(self._numbered, pair))), f"{self.distances[pair]:.4g}"
        outlier = self.outlier
        yield "outlier (mean)", self._numbered(outlier), f"{self.means[outlier]:.4g}"

    def _numbered(self, frame: int) -> str:
        return f"{frame} {self.names[frame]}"

    def _pair_record(self, pair: Pair) -> dict[str, object]:
        return {"frames": [self.names[n] for n in pair], "distance": float(self.distances[pair])}

    @property
    def _between(self) -> Distances:
        """Distances of each pair once, NaN elsewhere."""
        once = np.triu(np.ones_like(self.distances, dtype=bool), k=1)
        return np.where(once, self.distances, np.nan)

    def _pair(self, index: int) -> Pair:
        return divmod(index, len(self.names))


def heat_map(distances: Distances) -> Image.Image:
    """Draw the matrix in colours from zero to the largest distance, NaN in grey, with numbers and a scale."""
    cell = max(1, _SIDE // len(distances))
    side = cell * len(distances)
    canvas = Image.new("RGB", (side + 3 * _MARGIN + _BAR, side + 2 * _MARGIN), "white")
    canvas.paste(_coloured(distances).resize((side, side), Image.Resampling.NEAREST), (_MARGIN, _MARGIN))
    draw = ImageDraw.Draw(canvas)
    for frame in range(0, len(distances), -(-len(distances) // _TICKS)):
        middle = _MARGIN + (frame + 0.5) * cell
        _write(draw, middle, _MARGIN - 6, str(frame), "ms")
        _write(draw, _MARGIN - 6, middle, str(frame), "rm")
    _write(draw, _MARGIN + side / 2, side + 1.5 * _MARGIN, "sliced 1-Wasserstein distance of frames", "mm")
    _draw_scale(canvas, side, float(np.nanmax(distances)))
    return canvas


def _coloured(distances: Distances) -> Image.Image:
    """Return an image with one pixel per pair."""
    largest = float(np.nanmax(distances)) or 1.0
    levels = np.nan_to_num(distances * (255 / largest)).round().astype(np.uint8)
    image = _colours(Image.fromarray(levels))
    image.paste(_UNKNOWN, mask=Image.fromarray(np.where(np.isnan(distances), 255, 0).astype(np.uint8)))
    return image


def _draw_scale(canvas: Image.Image, side: int, largest: float) -> None:
    left, draw = 2 * _MARGIN + side - _BAR, ImageDraw.Draw(canvas)
    bar = _colours(ImageOps.flip(Image.linear_gradient("L")))
    canvas.paste(bar.resize((_BAR, side)), (left, _MARGIN))
    for share in (0, 0.25, 0.5, 0.75, 1):
        text = f"{share * largest:.3g}" + " px" * (share == 1)
        _write(draw, left + _BAR + 6, _MARGIN + (1 - share) * side, text, "lm")


def _colours(levels: Image.Image) -> Image.Image:
    return ImageOps.colorize(levels, _DARK, _BRIGHT, _MIDDLE)


def _write(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, anchor: str) -> None:
    draw.text((x, y), text, _INK, ImageFont.load_default(12), anchor)
