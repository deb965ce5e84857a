"""Shots of the benchmark: what each anomaly does to them, and that one of severity zero does nothing."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shotwatch_benchmark.anomalies import ANOMALIES, BY_NAME, AnomalyClass
from shotwatch_benchmark.lasers import LIMIT, SHAPE, Laser, box_sums, recorded_laser, simulated_laser, window
from shotwatch_benchmark.recorder import record
from shotwatch_benchmark.scenes import RecordedShots, Scene, SceneBatch
from shotwatch_physics.beam import measure_beams

PULSES = 100 * np.arange(24, dtype=np.int64)
SEED = 3


@pytest.fixture(scope="module")
def laser() -> Laser:
    return simulated_laser("a laser", SEED)


@pytest.fixture(scope="module")
def scene(laser: Laser) -> Scene:
    return Scene(laser, laser.test, SEED)


@pytest.fixture(scope="module")
def normal(scene: Scene) -> RecordedShots:
    return record(scene, PULSES)


@pytest.fixture
def anomalous(scene: Scene) -> Callable[[str, float], RecordedShots]:
    return lambda name, severity: record(scene, PULSES, BY_NAME[name], severity)


def light(shots: RecordedShots) -> NDArray[np.float64]:
    """Counts above the background, of each shot."""
    return measure_beams(shots.frames, LIMIT)["total_intensity"]


def changed(anomalous: RecordedShots, normal: RecordedShots) -> NDArray[np.float64]:
    """Counts: (n, h, w)."""
    return anomalous.frames.astype(np.float64) - normal.frames


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda anomaly: anomaly.name)
def test_an_anomaly_of_severity_zero_leaves_every_bit_as_it_was(
    scene: Scene, normal: RecordedShots, anomaly: AnomalyClass
) -> None:
    nothing = record(scene, PULSES, anomaly, 0.0)
    for field in fields(RecordedShots):
        np.testing.assert_array_equal(getattr(nothing, field.name), getattr(normal, field.name))


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda anomaly: anomaly.name)
def test_an_anomaly_changes_shots_and_has_at_least_six_severities(
    scene: Scene, normal: RecordedShots, anomaly: AnomalyClass
) -> None:
    assert len(anomaly.severities) >= 6
    assert list(anomaly.severities) == sorted(anomaly.severities)
    worst = record(scene, PULSES, anomaly, anomaly.severities[-1])
    assert any(
        not np.array_equal(getattr(worst, field.name), getattr(normal, field.name))
        for field in fields(RecordedShots)
    )


def test_a_shot_is_the_same_whatever_is_recorded_beside_it(scene: Scene, normal: RecordedShots) -> None:
    alone = record(scene, PULSES[7:8])
    np.testing.assert_array_equal(alone.frames[0], normal.frames[7])
    np.testing.assert_array_equal(alone.spectra[0], normal.spectra[7])


def test_a_hot_spot_is_as_high_as_it_states_and_small(
    scene: Scene, normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    more = changed(anomalous("hot spot", 0.2), normal)
    peak = scene.laser.mean.max()
    np.testing.assert_allclose(more.max(axis=(1, 2)), 0.2 * peak, rtol=0.1)
    np.testing.assert_allclose(more.sum(axis=(1, 2)), 0.2 * peak * 2 * np.pi * 1.5**2, rtol=0.1)


def test_dust_takes_the_share_of_light_in_its_middle(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots], scene: Scene
) -> None:
    rows, columns = SceneBatch(scene, PULSES).inside_beam()
    shots = np.arange(len(PULSES))
    left = (anomalous("dust", 0.5).frames[shots, rows, columns] - 16.0) / (
        normal.frames[shots, rows, columns] - 16.0
    )
    np.testing.assert_allclose(left, 0.5, atol=0.03)


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_clipping_takes_that_share_of_the_light(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots], share: float
) -> None:
    clipped = anomalous("clipping", share)
    lost = 1 - light(clipped) / light(normal)
    counted = -changed(clipped, normal).sum(axis=(1, 2)) / light(normal)
    assert lost == pytest.approx(counted, rel=0.02)
    assert lost.mean() == pytest.approx(share, rel=0.2)


def test_fringes_keep_the_light(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    fringed = anomalous("fringes", 0.2)
    np.testing.assert_allclose(light(fringed), light(normal), rtol=0.01)
    assert (np.abs(changed(fringed, normal)).max(axis=(1, 2)) > 0.15 * LIMIT * 0.5).all()


def test_defocus_keeps_the_light_and_lowers_the_peak(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    blurred = anomalous("defocus", 3.0)
    np.testing.assert_allclose(light(blurred), light(normal), rtol=0.003)
    assert (blurred.frames.max(axis=(1, 2)) < normal.frames.max(axis=(1, 2))).all()


def test_a_pointing_step_moves_the_beam_by_that_many_pixels(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    before = measure_beams(normal.frames, LIMIT)["centroid_x"]
    after = measure_beams(anomalous("pointing step", 1.0).frames, LIMIT)["centroid_x"]
    np.testing.assert_allclose(np.abs(after - before), 1.0, atol=0.05)


def test_less_energy_is_less_on_every_device(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    fainter = anomalous("energy drop", 0.1)
    np.testing.assert_allclose(light(fainter), 0.9 * light(normal), rtol=2e-3)
    np.testing.assert_allclose(fainter.energy1, 0.9 * normal.energy1)
    np.testing.assert_allclose(fainter.spectra.sum(axis=1), 0.9 * normal.spectra.sum(axis=1), rtol=2e-3)


def test_a_narrower_spectrum_has_the_same_energy(
    normal: RecordedShots, anomalous: Callable[[str, float], RecordedShots]
) -> None:
    narrow = anomalous("low bandwidth", 0.2)
    np.testing.assert_allclose(narrow.spectra.sum(axis=1), normal.spectra.sum(axis=1), rtol=0.03)
    assert ((narrow.spectra > 1000).sum(axis=1) < 0.85 * (normal.spectra > 1000).sum(axis=1)).all()
    np.testing.assert_array_equal(narrow.frames, normal.frames)


def test_a_dead_pixel_and_a_dead_column_read_nothing(
    anomalous: Callable[[str, float], RecordedShots],
) -> None:
    assert ((anomalous("dead pixel", 1.0).frames == 0).sum(axis=(1, 2)) >= 1).all()
    assert ((anomalous("dead column", 1.0).frames == 0).all(axis=1).sum(axis=1) == 1).all()


def test_frames_never_leave_the_cameras_range(anomalous: Callable[[str, float], RecordedShots]) -> None:
    assert anomalous("saturation", 1.0).frames.max() == LIMIT


def test_test_frames_are_later_than_those_that_are_learned_from(laser: Laser) -> None:
    assert laser.learning.max() < laser.test.min()


def test_a_window_is_the_binned_frame_moved_by_native_pixels() -> None:
    factor = 2
    image = np.random.default_rng(0).integers(0, 100, (SHAPE[0] * 2 + 8, SHAPE[1] * 2 + 8)).astype(float)
    moved = np.roll(image, (3, -1), axis=(0, 1))[4:-4, 4:-4]
    binned = moved.reshape(SHAPE[0], factor, SHAPE[1], factor).sum(axis=(1, 3))
    np.testing.assert_array_equal(window(box_sums(image, factor), factor, 3, -1), binned)


def test_frames_after_a_change_of_regime_are_no_normal_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows, columns = np.indices((110, 140))
    beam = 200 * np.exp(-((rows - 55) ** 2 + (columns - 70) ** 2) / 800)
    for n in range(20):
        energy = (1.0 if n < 12 else 1.2) + 0.001 * random.normal()
        np.save(tmp_path / f"frame-{n:02}.npy", energy * beam)
    laser = recorded_laser(tmp_path)
    assert len(laser.sums) == 12
    assert "frame-11" in laser.origin


def test_a_laser_of_one_file_has_all_its_frames(tmp_path: Path) -> None:
    stack = np.ones((4, 110, 140)) + np.eye(110, 140)
    np.save(tmp_path / "stack.npy", stack)
    assert len(recorded_laser(tmp_path / "stack.npy").sums) == 4
    np.save(tmp_path / "frame.npy", stack[0])
    assert recorded_laser(tmp_path / "frame.npy").origin == "one recorded frame"


def test_files_without_an_image_are_no_frames_of_a_laser(tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", np.ones((110, 140)) + np.eye(110, 140))
    (tmp_path / "damaged.png").write_bytes(b"x")
    assert [file.name for file in recorded_laser(tmp_path).skipped] == ["damaged.png"]


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    for n, width in enumerate((140, 150)):
        np.save(tmp_path / f"{n}.npy", np.ones((110, width)) + np.eye(110, width))
    with pytest.raises(ValueError, match="different sizes"):
        recorded_laser(tmp_path)
