"""Fitting of a network within a time limit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import keras
import numpy as np

from shotwatch_training.domain.split import ImageSet
from shotwatch_training.models.architectures import ARCHITECTURES
from shotwatch_training.models.spots import ImageBatches
from shotwatch_training.settings import ArchitectureName, Hyperparameters

BATCH = 32
STALLED_EPOCHS = 3
"""Epochs without a better validation loss after which fitting stops; the best weights are restored."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Mean squared errors (shares of the reference's peak, squared) after an epoch, numbered from 1."""

    number: int
    loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted network and the course of its fitting."""

    model: keras.Model
    epochs: tuple[Epoch, ...]


def fit(
    architecture: ArchitectureName,
    images: ImageSet,
    epochs: int,
    seconds: float,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    hyperparameters: Hyperparameters,
) -> Fit:
    """Fit a network to images until the validation loss no longer improves, or epochs or time are over."""
    keras.utils.set_random_seed(seed)
    chosen = ARCHITECTURES[architecture]
    _, height, width = images.training.shape
    model = chosen.build(height, width, hyperparameters)
    model.compile(keras.optimizers.Adam(hyperparameters.learning_rate), "mse")
    history = _History(on_epoch)
    validation = images.validation[..., np.newaxis]
    model.fit(
        ImageBatches(images.training, BATCH, hyperparameters.spots if chosen.spots else 0, seed),
        validation_data=(validation, validation),
        epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping("val_loss", patience=STALLED_EPOCHS, restore_best_weights=True),
            history,
            _TimeLimit(seconds),
        ],
    )
    return Fit(model, tuple(history.epochs))


def save(model: keras.Model, path: Path) -> None:
    """Write the network so that it can be trained further; `path` ends in .keras."""
    model.save(path)


class _History(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, on_epoch: Callable[[Epoch], None]) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self._on_epoch = on_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epochs.append(Epoch(epoch + 1, float(logs["loss"]), float(logs["val_loss"])))
        self._on_epoch(self.epochs[-1])


class _TimeLimit(keras.callbacks.Callback):  # type: ignore[misc]
    """A callback that ends fitting after the given time, in the middle of an epoch if necessary."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = monotonic() + seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        if monotonic() > self._end:
            self.model.stop_training = True
