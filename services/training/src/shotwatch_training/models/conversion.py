"""The conversion of a network for the scoring engine.

LiteRT runs some layers slowly, so they are replaced by equal ones with the same weights. Results differ only
by the order of additions.

- The first and the last layer have a single channel on one side, and a product for each pixel of their kernel
  leaves SIMD lanes empty. Where the kernel is as large as the stride, the pixels of a patch become channels,
  and the whole layer is one product of matrices.
- A transposed convolution computes its output's shape at each run. This interrupts XNNPACK, the part of
  LiteRT that runs the network. With stride 1, it is a convolution with the kernel turned by 180°.
"""

from contextlib import redirect_stdout
from io import StringIO

import keras
import tensorflow as tf
from keras import layers


def convert(model: keras.Model) -> bytes:
    """Convert the network to TFLite's format."""
    equal = keras.models.clone_model(model, clone_function=_faster)
    with redirect_stdout(StringIO()):
        network: bytes = tf.lite.TFLiteConverter.from_keras_model(equal).convert()
    return network


def _faster(layer: layers.Layer) -> layers.Layer:
    """Return a layer equal to this one that LiteRT runs faster, or the layer itself."""
    match layer:
        case layers.Conv2D() if _is_of_patches(layer):
            return _PatchesToPixels(layer)
        case layers.Conv2DTranspose() if _is_of_patches(layer):
            return _PixelsToPatches(layer)
        case layers.Conv2DTranspose() if layer.strides == (1, 1) and layer.padding == "same":
            return _Turned(layer)
    return layer


def _is_of_patches(layer: layers.Layer) -> bool:
    """Return whether a convolution's kernel is a square of more than one pixel and equals its stride."""
    side = layer.kernel_size[0]
    return bool(side > 1 and (side, side) == layer.kernel_size == layer.strides and layer.padding == "valid")


class _PatchesToPixels(layers.Layer):  # type: ignore[misc]
    """A convolution that makes one pixel (f channels) of each patch of s x s pixels (c channels)."""

    def __init__(self, convolution: layers.Conv2D) -> None:
        super().__init__()
        self._convolution = convolution

    def call(self, images: tf.Tensor) -> tf.Tensor:
        kernel = self._convolution.kernel  # (s, s, c, f)
        side, filters = kernel.shape[0], kernel.shape[-1]
        patches = tf.nn.space_to_depth(images, side)
        product = tf.nn.conv2d(patches, tf.reshape(kernel, (1, 1, -1, filters)), 1, "VALID")
        return self._convolution.activation(product + self._convolution.bias)


class _PixelsToPatches(layers.Layer):  # type: ignore[misc]
    """A transposed convolution that makes a patch of s x s pixels (f channels) of each pixel (c channels)."""

    def __init__(self, convolution: layers.Conv2DTranspose) -> None:
        super().__init__()
        self._convolution = convolution

    def call(self, images: tf.Tensor) -> tf.Tensor:
        kernel = self._convolution.kernel  # (s, s, f, c)
        side, channels = kernel.shape[0], kernel.shape[-1]
        by_channel = tf.reshape(tf.transpose(kernel, (3, 0, 1, 2)), (1, 1, channels, -1))
        product = tf.nn.conv2d(images, by_channel, 1, "VALID")
        bias = tf.tile(self._convolution.bias, (side * side,))
        return tf.nn.depth_to_space(self._convolution.activation(product + bias), side)


class _Turned(layers.Layer):  # type: ignore[misc]
    """A transposed convolution with stride 1 and padding on both sides, as a convolution."""

    def __init__(self, convolution: layers.Conv2DTranspose) -> None:
        super().__init__()
        self._convolution = convolution

    def call(self, images: tf.Tensor) -> tf.Tensor:
        kernel = tf.reverse(self._convolution.kernel, (0, 1))  # (s, s, f, c)
        product = tf.nn.conv2d(images, tf.transpose(kernel, (0, 1, 3, 2)), 1, "SAME")
        return self._convolution.activation(product + self._convolution.bias)
