"""The autoencoders to choose from. All map (n, h, w, 1) normalised images to their reconstruction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import keras
from keras import layers

from shotwatch_training.settings import ArchitectureName, Hyperparameters

PATCH = 8
"""Side of the square patches into which the strided network divides the frame, in px."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and how it is trained."""

    build: Callable[[int, int, Hyperparameters], keras.Model]
    """Build the network from height, width and hyperparameters."""
    spots: bool
    """Whether it learns to remove spots that were added to its input, so that it cannot reconstruct them."""


def strided(height: int, width: int, chosen: Hyperparameters) -> keras.Model:
    """Return a small network: convolutions with strides, no layer at full resolution but the last.

    Each patch of 8 x 8 pixels is encoded in a few numbers, and decoded together with its neighbours.
    """
    image = keras.Input((height, width, 1))
    padded, crop = _padded(image, height, width, PATCH)
    x = layers.Conv2D(chosen.filters, 4, strides=4, activation="relu")(padded)
    x = layers.Conv2D(2 * chosen.filters, 3, strides=2, padding="same", activation="relu")(x)
    code = layers.Conv2D(chosen.code, 1, activation="relu")(x)
    x = layers.Conv2DTranspose(2 * chosen.filters, 3, padding="same", activation="relu")(code)
    x = layers.Conv2DTranspose(chosen.filters, 2, strides=2, activation="relu")(x)
    x = layers.Conv2DTranspose(1, 4, strides=4)(x)
    return keras.Model(image, layers.Cropping2D(crop)(x), name="strided")


def report(height: int, width: int, _: Hyperparameters) -> keras.Model:
    """Return a network like the report's: three channels, convolutions and pooling at full resolution.

    The report states the input, 102 x 128 x 3, but not the layers; these are the customary ones. Differences:
    - Conv2DTranspose replaces UpSampling2D, which cannot be converted.
    - Cameras have one channel: it is copied to three inside the network, and these are averaged at the end.
    - The output is linear, because noise around the dark level is negative.
    """
    image = keras.Input((height, width, 1))
    padded, crop = _padded(image, height, width, 4)
    x = layers.Concatenate()([padded, padded, padded])
    for filters in (32, 16):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    for filters in (16, 32):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(x)
    colours = layers.Conv2D(3, 3, padding="same")(x)
    mean = keras.ops.mean(colours, axis=-1, keepdims=True)
    return keras.Model(image, layers.Cropping2D(crop)(mean), name="report")


ARCHITECTURES: Mapping[ArchitectureName, Architecture] = MappingProxyType(
    {
        ArchitectureName.STRIDED: Architecture(strided, spots=True),
        ArchitectureName.REPORT: Architecture(report, spots=False),
    }
)


def _padded(
    image: keras.KerasTensor, height: int, width: int, multiple: int
) -> tuple[keras.KerasTensor, tuple[tuple[int, int], tuple[int, int]]]:
    """Return the image padded with zeros to a multiple of `multiple` pixels, and the crop that undoes it."""
    rows, columns = -height % multiple, -width % multiple
    margins = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return layers.ZeroPadding2D(margins)(image), margins
