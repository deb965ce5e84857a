"""The light-free level of a frame and its noise, estimated from the frame's border."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import Images

BORDER_SHARE = 0.035
"""Width of the border over the frame's shorter side (ISO/TR 11146-3 takes corners of 2 % to 5 %)."""
UNLIT_SIGMAS = 3.0
"""Border pixels further from the median are lit or defective (ISO/TR 11146-3 takes 2 to 4)."""
LIT_SIGMAS = 6.0
"""Pixels further above the level are lit: noise alone gets there in one frame of 13,000 pixels in 10⁵."""
STEP = 1.0
"""The camera's own step (counts): no border is taken to be quieter."""


@dataclass(frozen=True, slots=True)
class Background:
    """Mean and standard deviation of the unlit pixels of each frame (counts), (n,) each."""

    level: FloatArray
    noise: FloatArray

    @property
    def faintest_light(self) -> FloatArray:
        """The count above which a pixel is lit: (n,)."""
        return self.level + LIT_SIGMAS * np.maximum(self.noise, STEP)


def estimate_background(images: Images) -> Background:
    """Level and noise of the unlit pixels on the border of frames (n, h, w).

    Unlit is a pixel within three robust standard deviations of the border's median. That sets aside hot
    pixels, and a beam that touches the border as long as it lights less than a sixth of it. Of the rest the
    mean is taken: the median is a whole count, and second moments are sensitive to fractions of one.
    """
    height, width = images.shape[1:]
    border = np.compress(_border(height, width).ravel(), images.reshape(-1, height * width), axis=1)
    low, median, high = np.sort(border, axis=1)[:, _quantiles(border.shape[1])].T.astype(np.float64)
    spread = np.maximum(np.maximum(high - median, median - low), STEP)
    unlit = np.abs(border - median[:, None]) <= UNLIT_SIGMAS * spread[:, None]
    count = unlit.sum(axis=1)
    level = (border * unlit).sum(axis=1) / count
    residual = (border - level[:, None]) * unlit
    return Background(level, np.sqrt((residual**2).sum(axis=1) / count))


def _border(height: int, width: int) -> NDArray[np.bool_]:
    thickness = max(1, round(BORDER_SHARE * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return border


def _quantiles(count: int) -> list[int]:
    """Where a sorted sample of a normal distribution has its mean - σ, mean and mean + σ."""
    return [round(share * (count - 1)) for share in (0.1587, 0.5, 0.8413)]
