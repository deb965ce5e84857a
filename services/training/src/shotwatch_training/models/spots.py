"""Batches of images with added spots, together with the original images."""

import keras
import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Images

RADII = (0.7, 3.0)
"""Range of the spots' standard deviations, in px."""
STRONGEST = 0.4
"""Maximum strength of a spot, bright or dark, as a share of the reference's peak."""


class ImageBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches (input, target) of images (n, h, w), with `spots` spots in each input."""

    def __init__(self, images: Images, batch: int, spots: int, seed: int) -> None:
        super().__init__()
        self._images = images
        self._batch = batch
        self._spots = spots
        self._random = np.random.default_rng(seed)
        self._order = self._random.permutation(len(images))

    def __len__(self) -> int:
        return -(-len(self._images) // self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        target = self._images[chosen]
        source = target + draw_spots(target.shape, self._spots, self._random) if self._spots else target
        return source[..., np.newaxis], target[..., np.newaxis]

    def on_epoch_end(self) -> None:
        self._order = self._random.permutation(len(self._images))


def draw_spots(shape: tuple[int, ...], spots: int, random: np.random.Generator) -> Images:
    """Draw Gaussian spots of random place, radius and strength, bright and dark: (n, h, w)."""
    count, height, width = shape

    def uniform(low: float, high: float) -> NDArray[np.float32]:
        return random.uniform(low, high, (count, spots, 1)).astype(np.float32)

    x, y, radius, strength = uniform(0, width), uniform(0, height), uniform(*RADII), uniform(-1, 1)
    # A Gaussian spot is the product of two profiles: one matrix product adds up all spots of an image.
    rows = STRONGEST * strength * np.exp(-(((np.arange(height, dtype=np.float32) - y) / radius) ** 2) / 2)
    columns = np.exp(-(((np.arange(width, dtype=np.float32) - x) / radius) ** 2) / 2)
    drawn: Images = rows.swapaxes(1, 2) @ columns
    return drawn
