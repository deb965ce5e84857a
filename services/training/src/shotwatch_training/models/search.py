"""The choice of hyperparameters: drawn at random (Bergstra and Bengio, 2012), compared by weak spots.

The loss measures how well normal images are reconstructed. A network that also reconstructs spots has the
lowest loss. Networks are therefore compared by how clearly a weak spot remains in the residual.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Images
from shotwatch_detector.residuals import smooth
from shotwatch_training.domain.split import ImageSet
from shotwatch_training.models.fitting import BATCH, Epoch, Fit, fit
from shotwatch_training.settings import Hyperparameters, Recipe

WEAK = 0.05
"""Amplitude of the spots by which networks are compared, as a share of the reference's peak."""
RADIUS = 1.5
"""Standard deviation of the spots, in px."""
LIT = 0.2
"""Share of the reference's peak above which a pixel belongs to the beam."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A fitted network and its figure of merit."""

    hyperparameters: Hyperparameters
    fitted: Fit
    spot_contrast: float


def search(
    recipe: Recipe,
    images: ImageSet,
    on_epoch: Callable[[Epoch], None],
    on_trial: Callable[[int, Trial], None],
) -> Trial:
    """Fit as many networks as the recipe requests, and return the one that shows weak spots best.

    `on_trial` is called after each, with its number from 1.
    """
    best: Trial | None = None
    for number, hyperparameters in enumerate(draw(recipe.trials, recipe.seed), 1):
        keras.backend.clear_session()
        fitted = fit(
            recipe.architecture,
            images,
            recipe.epochs,
            recipe.budget_seconds,
            recipe.seed,
            on_epoch,
            hyperparameters,
        )
        trial = Trial(hyperparameters, fitted, spot_contrast(fitted.model, images.validation, recipe.seed))
        on_trial(number, trial)
        if best is None or trial.spot_contrast > best.spot_contrast:
            best = trial
    if best is None:
        raise ValueError(f"at least one network must be fitted, not {recipe.trials}")
    return best


def draw(count: int, seed: int) -> Iterator[Hyperparameters]:
    """Yield hyperparameters to try: first the defaults, then random ones."""
    random = np.random.default_rng(seed)
    for number in range(count):
        drawn = Hyperparameters(
            learning_rate=float(np.exp(random.uniform(np.log(5e-4), np.log(1e-2)))),
            filters=int(random.choice([8, 16, 24, 32])),
            code=int(random.choice([4, 6, 8, 12, 16])),
            spots=int(random.integers(5, 41)),
        )
        yield drawn if number else Hyperparameters()


def spot_contrast(model: keras.Model, images: Images, seed: int) -> float:
    """Return how clearly a weak spot on the beam stands out in the residuals of images (n, h, w).

    This is the median over the images of what a spot adds to the smoothed residual at its centre. The unit is
    the standard deviation of the smoothed residuals of the images without spots, on the beam. The result is
    NaN without a beam.
    """
    rows, columns, has_beam = _places(images, np.random.default_rng(seed))
    if not has_beam.any():
        return float("nan")
    spotted = images + _spots(images.shape, rows, columns)
    normal, shown = _left_over(model, images), _left_over(model, spotted)
    each = np.arange(len(images))
    added = (shown - normal)[each, rows, columns][has_beam]
    return float(np.median(added) / normal[images > LIT].std())


def _left_over(model: keras.Model, images: Images) -> Images:
    reconstructed = model.predict(images[..., np.newaxis], batch_size=BATCH, verbose=0)
    return smooth(images - reconstructed[..., 0])


def _places(
    images: Images, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return a random lit pixel of each image, as row and column, and which images have one."""
    # A random number for each lit pixel, 0 elsewhere: the largest one marks a lit pixel at random.
    lots = np.where(images > LIT, random.random(images.shape), 0.0).reshape(len(images), -1)
    chosen = lots.argmax(axis=1)
    rows, columns = np.divmod(chosen, images.shape[2])
    return rows, columns, lots.max(axis=1) > 0


def _spots(shape: tuple[int, ...], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Images:
    y, x = np.arange(shape[1]), np.arange(shape[2])
    of_rows = np.exp(-(((y - rows[:, np.newaxis]) / RADIUS) ** 2) / 2)
    of_columns = np.exp(-(((x - columns[:, np.newaxis]) / RADIUS) ** 2) / 2)
    spots: Images = (WEAK * of_rows[:, :, np.newaxis] * of_columns[:, np.newaxis]).astype(np.float32)
    return spots
