"""How many independent shots a baseline was learned from: what repeats is not new evidence.

Two counts bound it. Shots of the same time block share the state of the laser. And frames that show the same
recorded frame again, moved a little, with another energy and fresh noise, are one.
"""

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Frames, Images
from shotwatch_detector.frames import ReferenceFrame, normalise
from shotwatch_detector.residuals import smooth
from shotwatch_shots.pulses import Times

BLOCK_MS = 10_000
"""Length of a time block, in ms: after as long without an observation an incident is over, so what happens in
less time is one incident for operators, too.
"""
SAME = 0.5
"""Two frames are the same if they share more than this of what distinguishes them from the mean frame.

What independent shots share by their noise alone is below 0.2. A laser whose shots differ by noise only has
as many distinct frames as shots; a recorded frame that is shown again keeps what distinguished it.
"""


_MARGIN = 4
"""In px."""


def independent_blocks(times: Times) -> int:
    """Return in how many time blocks there are shots; `times` are epoch ms (n,)."""
    return len(np.unique(times // BLOCK_MS))


def distinct_frames(frames: Frames, reference: ReferenceFrame) -> int:
    """Return how many of a camera's frames (n, h, w) are not the same as an earlier distinct one."""
    return len(np.unique(same_frames(frames, reference)))


def same_frames(frames: Frames, reference: ReferenceFrame) -> NDArray[np.intp]:
    """Return for each frame of a camera (n, h, w) the first distinct frame that it is the same as: (n,).

    Two frames are the same if 2 a·b / (a² + b²) >= SAME, where a and b are what distinguishes them from the
    mean frame (`_distinctions`).
    """
    distinctions = _distinctions(normalise(frames, reference).images)
    products = distinctions @ distinctions.T
    squares = np.diag(products)
    shared = 2 * products >= SAME * (squares + squares[:, np.newaxis])
    first = np.arange(len(frames))
    for frame in range(len(frames)):
        distinct = np.unique(first[:frame])
        alike = distinct[shared[frame, distinct]]
        first[frame] = alike[0] if len(alike) else frame
    return first


def _distinctions(images: Images) -> NDArray[np.float64]:
    """Return how each image (n, h, w) differs from their mean, apart from movement and growth: (n, k).

    Movement to second order, growth, rotation and brightness of the mean are taken out by least squares: they
    change from shot to shot, in a repeated frame as well. The images are smoothed, so that the derivatives of
    the mean describe a movement by a part of a pixel.
    """
    smoothed = smooth(images).astype(np.float64)
    mean = smoothed.mean(axis=0)
    down, right = np.gradient(mean)
    rows, columns = np.indices(mean.shape) - np.array(mean.shape).reshape(2, 1, 1) / 2
    changes = np.stack(
        [
            mean,
            np.ones_like(mean),
            down,
            right,
            *np.gradient(down),
            np.gradient(right, axis=1),
            rows * down,
            columns * right,
            columns * down,
            rows * right,
        ]
    )
    known, _ = np.linalg.qr(_inner(changes).T)
    distinctions = _inner(smoothed - mean)
    rest: NDArray[np.float64] = distinctions - (distinctions @ known) @ known.T
    return rest


def _inner(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return images (n, h, w) as vectors, without the margin that the border affects."""
    inner = images[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return inner.reshape(len(images), -1)
