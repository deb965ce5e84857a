"""The choice of hyperparameters: what is drawn, and by what networks are compared."""

from collections.abc import Callable
from math import isnan
from typing import cast

import keras
import numpy as np
import pytest

from shotwatch_detector.arrays import Images
from shotwatch_training.models.search import WEAK, draw, spot_contrast
from shotwatch_training.settings import Hyperparameters

SIGMA = 0.01
rows, columns = np.mgrid[:40, :50]
BEAM = np.exp(-(((rows - 20) / 12) ** 2) - ((columns - 25) / 15) ** 2).astype(np.float32)
IMAGES = BEAM + np.random.default_rng(0).normal(0, SIGMA, (30, 40, 50)).astype(np.float32)


class Network:
    """A network that reconstructs by a formula."""

    def __init__(self, formula: Callable[[Images], Images]) -> None:
        self._formula = formula

    def predict(self, images: Images, **_: object) -> Images:
        return self._formula(images)


def contrast(formula: Callable[[Images], Images], images: Images = IMAGES) -> float:
    return spot_contrast(cast(keras.Model, Network(formula)), images, seed=0)


def test_a_network_that_knows_the_beam_leaves_the_whole_spot_above_the_noise() -> None:
    # Two means over 3 x 3 px leave a spot of 1.5 px (σ) 0.64 of its height, and white noise 19/81 of its σ.
    found = contrast(lambda images: np.broadcast_to(BEAM[..., np.newaxis], images.shape))
    assert found == pytest.approx(0.64 * WEAK / (SIGMA * 19 / 81), rel=0.1)


def test_a_network_that_reconstructs_half_of_each_spot_shows_half_of_it() -> None:
    whole = contrast(lambda images: np.broadcast_to(BEAM[..., np.newaxis], images.shape))
    spots = contrast(lambda images: BEAM[..., np.newaxis] + (images - IMAGES[..., np.newaxis]) / 2)
    assert spots == pytest.approx(whole / 2, rel=0.05)


def test_without_a_beam_there_is_nothing_to_compare_networks_by() -> None:
    assert isnan(contrast(np.zeros_like, np.zeros_like(IMAGES)))


def test_the_default_hyperparameters_are_always_tried_and_equal_seeds_draw_equal_others() -> None:
    drawn = list(draw(8, seed=3))
    assert drawn[0] == Hyperparameters()
    assert len(set(drawn)) == 8
    assert list(draw(8, seed=3)) == drawn
    assert list(draw(8, seed=4))[1:] != drawn[1:]
