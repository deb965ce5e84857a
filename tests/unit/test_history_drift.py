"""Drift: what a device measures of late against what the champion was trained on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from opentelemetry import trace
from structlog.testing import capture_logs

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.clock import epoch_now
from shotwatch_common.registry import ModelVersion
from shotwatch_detector.bundle import Bundle, Origin, save_bundle
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_history.domain.drift import Columns, measure_drift, shifted
from shotwatch_history.events import drift_event_of
from shotwatch_history.jobs.drift import DriftWatch
from shotwatch_shots.drift import Drift
from shotwatch_shots.features.spec import Side
from shotwatch_shots.models import Promotion
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, Severity
from tests.unit.promoted import Promoted

CAMERA = "LA_A1_11-Camera_1-Camera-1"
PLACE = ShotSeries.parse("LA-A1-11-100ms")
END = 1_656_660_780_000
TAIL = Tail(2.6, 0.876)
BASELINES = {
    "total_intensity": Baseline(1000.0, 10.0, TAIL, TAIL, Side.BOTH),
    "centroid_x": Baseline(60.0, 0.5, TAIL, TAIL, Side.BOTH),
}


def drift(medians: Columns, newest: Columns) -> Drift:
    return Drift(CAMERA, "3", END - 600_000, END, measure_drift(BASELINES, medians, newest))


def shots(centre: float, sigma: float) -> np.ndarray:
    return np.random.default_rng(0).normal(centre, sigma, 600)


def test_a_device_that_is_as_it_was_does_not_drift() -> None:
    found = drift(
        {"total_intensity": np.full(10, 1001.0), "centroid_x": np.full(10, 60.1)},
        {"total_intensity": shots(1001, 10), "centroid_x": shots(60.1, 0.5)},
    )
    assert found.features["total_intensity"].shift == pytest.approx(0.1)
    assert found.features["total_intensity"].beyond == pytest.approx(0.003, abs=0.005)
    assert shifted(found) == {}


def test_a_shift_of_less_than_operators_act_on_is_no_drift_however_still_the_device_was() -> None:
    still = {"centroid_x": Baseline(60.0, 0.01, TAIL, TAIL, Side.BOTH)}
    for moved, matters in ((0.09, False), (0.11, True)):
        found = measure_drift(still, {"centroid_x": np.full(10, 60.0 + moved)}, {})
        assert bool(shifted(Drift(CAMERA, "3", END - 600_000, END, found))) is matters


def test_a_shift_is_measured_in_the_spread_of_the_training_period() -> None:
    found = drift({"total_intensity": np.full(10, 970.0)}, {"total_intensity": shots(970, 10)})
    feature = found.features["total_intensity"]
    assert (feature.centre, feature.median) == (1000, 970)
    assert feature.shift == pytest.approx(-3)
    assert feature.beyond == pytest.approx(0.5, abs=0.05)
    assert set(shifted(found)) == {"total_intensity"}


def test_one_bad_batch_is_no_drift_and_few_batches_prove_nothing() -> None:
    medians = np.array([1000.0] * 9 + [500.0])
    assert shifted(drift({"total_intensity": medians}, {})) == {}
    few = np.array([500.0] * 4 + [np.nan] * 6)
    assert drift({"total_intensity": few}, {}).features == {}


def test_an_event_reports_the_furthest_feature_first_and_once_for_a_device_and_version() -> None:
    found = drift({"total_intensity": np.full(10, 970.0), "centroid_x": np.full(10, 63.0)}, {})
    event = drift_event_of(found, shifted(found), PLACE, "HPLS")
    assert (event.data.kind, event.data.severity) == (AnomalyKind.DRIFT, Severity.WARNING)
    assert [each.feature for each in event.data.contributions] == ["centroid_x", "total_intensity"]
    assert event.data.score == pytest.approx(6)
    assert event.data.why == (
        f"centroid x of {CAMERA} is 6.0 σ above what model version 3 was trained on, and so is 1 more "
        "feature: it may be time to train again"
    )
    later = Drift(CAMERA, "3", END, END + 600_000, found.features)
    assert drift_event_of(later, shifted(later), PLACE, "HPLS").id == event.id
    newer = Drift(CAMERA, "4", END, END + 600_000, found.features)
    assert drift_event_of(newer, shifted(newer), PLACE, "HPLS").id != event.id


def test_a_small_drift_is_only_worth_knowing() -> None:
    found = drift({"total_intensity": np.full(10, 975.0)}, {})
    event = drift_event_of(found, shifted(found), PLACE, "HPLS")
    assert event.data.severity is Severity.INFO
    assert event.data.why.endswith("was trained on: it may be time to train again")


@pytest.mark.parametrize("changed", [False, True])
async def test_references_are_those_of_the_bundle_that_was_promoted(changed: bool, tmp_path: Path) -> None:
    save_bundle(Bundle(Origin("HPLS", "strided", "1", 0, 1, 2), b"", {}, {CAMERA: BASELINES}), tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in BUNDLE_FILES}
    promoted = Promoted()
    await promoted.promote("1", "", digest_of(files))

    class Registry:
        async def find(self, version: str) -> ModelVersion:
            return ModelVersion(version, "", "")

        async def bundle(self, _version: ModelVersion) -> dict[str, bytes]:
            return files | {"bundle.json": files["bundle.json"] + b" " * changed}

    registry: Any = Registry()
    context: Any = SimpleNamespace(
        facility=SimpleNamespace(places=(), clock_skew_s=0),
        archive=promoted,
        log=structlog.get_logger(),
        tracer=trace.get_tracer("test"),
        servers_answer=None,
    )
    watch = DriftWatch(context, registry)
    with capture_logs() as logged:
        await watch.poll()
    assert watch._baseline == ({} if changed else {CAMERA: BASELINES})
    assert [line["event"] for line in logged] == ["references cannot be read"] * changed
    await promoted.promotions.add(Promotion(epoch_now() + 1, "mallory", "1", "2", "", digest="0" * 64))
    await watch.poll()
    assert watch._version == "1"
