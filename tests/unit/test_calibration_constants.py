"""Calibration constants are read as they were stored, and take no more memory than their file."""

import io

import numpy as np
import pytest

from shotwatch_common.calibration_store import CalibrationStore, Period, store_constants
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference
from shotwatch_shots.vocabulary import CalibrationKind
from tests.support.world import World

CAMERA = "LA_A1_11-Camera_1-Camera-1"
PERIOD = Period(0, 1000, 20)


def noise(mean: float) -> NoiseModel:
    return NoiseModel(np.full((4, 5), mean, np.float32), np.ones((4, 5), np.float32), 20, 1e-6)


def compressed(names: tuple[str, ...]) -> bytes:
    """An .npz file that is far smaller than its arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **dict.fromkeys(names, np.zeros((1000, 1000), np.float32)))
    assert len(file.getvalue()) < 100_000
    return file.getvalue()


def test_compressed_arrays_are_refused_unread() -> None:
    with pytest.raises(ValueError, match="not a stored noise model: it is compressed"):
        NoiseModel.from_npz(compressed(("mean", "sigma", "frames", "p")))
    names = ("profile", "centroid", "gaussians", "mean", "scale", "axes", "explained")
    with pytest.raises(ValueError, match="not a stored reference: it is compressed"):
        Reference.from_npz(compressed(names))


def test_a_single_array_is_no_model() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="not a stored noise model: a single array"):
        NoiseModel.from_npz(file.getvalue())


async def test_an_object_that_somebody_replaced_is_not_used_and_is_reported_once() -> None:
    world = World()
    world.store.buckets["data"] = {}
    archive, store = world.archive, world.objects
    kind = CalibrationKind.NOISE
    made = await store_constants(archive, store, "data", CAMERA, kind, noise(1).to_npz(), PERIOD)
    await store.put("data", made.key, noise(2).to_npz())
    calibration_store = CalibrationStore(archive, store, {kind: NoiseModel.from_npz})
    [(latest, reason)] = await calibration_store.poll()
    assert (latest, reason) == (made, f"{made.key} is not what was stored there")
    assert await calibration_store.poll() == []
    assert calibration_store.newest(CAMERA, kind) is None
    await store_constants(archive, store, "data", CAMERA, kind, noise(3).to_npz(), PERIOD)
    assert await calibration_store.poll() == []
    assert calibration_store.newest(CAMERA, kind).mean.tolist() == noise(3).mean.tolist()
