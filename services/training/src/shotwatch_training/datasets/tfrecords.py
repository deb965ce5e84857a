"""Examples as TFRecords: one `tf.train.Example` per triplet, with the report's nine features.

`image` (uint16) and `spectra` (float32) are tensors in TensorFlow's own serialisation (`tf.io.parse_tensor`
reads them); the other features are plain values.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from shotwatch_training.domain.triplets import Triplet

_PLAIN = {
    "energymeter": tf.float32,
    "amp": tf.string,
    "arm": tf.string,
    "front": tf.string,
    "timestamp": tf.int64,
    "interval": tf.string,
    "date": tf.string,
}
_TENSORS = {"image": tf.uint16, "spectra": tf.float32}
_SCHEMA = {
    **{name: tf.io.FixedLenFeature([], dtype) for name, dtype in _PLAIN.items()},
    **{name: tf.io.FixedLenFeature([], tf.string) for name in _TENSORS},
}


def write_shard(path: Path, examples: Iterable[Triplet]) -> None:
    """Write one TFRecord file; the same examples give the same bytes."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(encode(example))


def encode(example: Triplet) -> bytes:
    """Return the serialized record of an example."""
    values = {
        **{name: _bytes(tf.io.serialize_tensor(getattr(example, name)).numpy()) for name in _TENSORS},
        **{name: _plain(getattr(example, name)) for name in _PLAIN},
    }
    message = tf.train.Example(features=tf.train.Features(feature=values))
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def decode(record: tf.Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tf.Tensor]:
    """Return the nine features of a record as tensors; usable in `tf.data.Dataset.map`.

    Args:
        record: a scalar string tensor.
        shapes: of `image` and `spectra`.
    """
    found = tf.io.parse_single_example(record, _SCHEMA)
    for name, dtype in _TENSORS.items():
        found[name] = tf.ensure_shape(tf.io.parse_tensor(found[name], dtype), shapes[name])
    return dict(found)


def _plain(value: np.float32 | int | str) -> tf.train.Feature:
    match value:
        case str():
            return _bytes(value.encode())
        case int():
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        case _:
            return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
