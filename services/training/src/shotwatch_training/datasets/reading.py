"""Reading of stored training sets for training: streamed shard by shard, never as a whole."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shotwatch_common.store import ObjectStore
from shotwatch_training.datasets.store import DatasetStore
from shotwatch_training.datasets.tfrecords import decode
from shotwatch_training.domain.history import CameraHistory, Times
from shotwatch_training.domain.manifest import DatasetManifest, Shard
from shotwatch_training.domain.split import evenly
from shotwatch_training.settings import TrainingSettings

Fetch = Callable[[Shard], bytes]
"""A function that returns the bytes of a shard; it blocks until they are loaded."""


def fetcher(settings: TrainingSettings) -> Fetch:
    """Return a function that loads shards from the store, to be called in a thread without an event loop."""

    async def get(shard: Shard) -> bytes:
        async with ObjectStore.of(settings) as objects:
            return await DatasetStore(objects, settings.dataset_bucket).get_shard(shard)

    return lambda shard: asyncio.run(get(shard))


def stream(manifest: DatasetManifest, fetch: Fetch) -> tf.data.Dataset:
    """Return the set as a `tf.data.Dataset` of its nine features (dict of tensors), in manifest order.

    Each pass fetches the shards again, one after the other; one shard at a time lies in a temporary folder.
    """

    def files() -> Iterator[str]:
        with TemporaryDirectory() as folder:
            for number, shard in enumerate(manifest.shards):
                file = Path(folder, f"{number}.tfrecord")
                file.write_bytes(fetch(shard))
                yield str(file)
                file.unlink()

    shapes = {name: manifest.shape(name) for name in ("image", "spectra")}
    shards = tf.data.Dataset.from_generator(files, output_signature=tf.TensorSpec([], tf.string))
    return shards.flat_map(tf.data.TFRecordDataset).map(partial(decode, shapes=shapes))


def read_cameras(manifest: DatasetManifest, fetch: Fetch, most: int) -> tuple[CameraHistory, ...]:
    """Return `most` frames of each camera at most, evenly spread over its time."""
    cameras = np.array([group.camera for group in manifest.groups for _ in group.shots])
    pulses = np.array([pulse for group in manifest.groups for pulse in group.pulses], np.int64)
    chosen = {str(camera): _chosen(cameras == camera, pulses, most) for camera in np.unique(cameras)}
    wanted = {number for numbers in chosen.values() for number in numbers}
    frames = {
        number: example["image"].numpy()
        for number, example in enumerate(stream(manifest, fetch))
        if number in wanted
    }
    return tuple(
        CameraHistory(camera, pulses[numbers], np.stack([frames[number] for number in numbers]))
        for camera, numbers in chosen.items()
    )


def _chosen(of_camera: NDArray[np.bool_], pulses: Times, most: int) -> list[int]:
    """Return the numbers of a camera's chosen examples, in order of their pulses."""
    numbers = np.flatnonzero(of_camera)
    ordered = numbers[np.argsort(pulses[numbers], kind="stable")]
    chosen: list[int] = ordered[evenly(len(ordered), most)].tolist()
    return chosen
