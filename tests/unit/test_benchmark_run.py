"""A whole run of the benchmark, as small as it can be, and its outcome."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from shotwatch_benchmark import delays, protocol
from shotwatch_benchmark.anomalies import ANOMALIES, AnomalyClass
from shotwatch_benchmark.delays import FOLLOWED_SHOTS, LEARNED_SHOTS, DelayResult, measure_delays
from shotwatch_benchmark.lasers import simulated_laser
from shotwatch_benchmark.metrics import Auroc, FalseAlarms
from shotwatch_benchmark.observing import CAMERA, METER
from shotwatch_benchmark.protocol import SMALL, Size, run_benchmark
from shotwatch_benchmark.report import markdown, write_report
from shotwatch_benchmark.results import BenchmarkResult, LaserResult, ScorerResult
from shotwatch_benchmark.scenes import BeamChange, Scene, SceneBatch
from shotwatch_benchmark.scorers import DETECTOR
from shotwatch_benchmark.workers import Case, Task, score_all
from shotwatch_cli.main import app
from shotwatch_common.facility_file import load_facility
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_shots.features.spec import Side
from shotwatch_simulator import noise

pytestmark = pytest.mark.slow

HPLS = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
FACILITY = load_facility(HPLS)
TINY = replace(
    SMALL,
    normals=300,
    unseen_normals=100,
    learning=240,
    at_zero=40,
    per_severity=20,
    epochs=1,
    report_epochs=1,
)


@pytest.fixture(scope="module")
def outcome() -> BenchmarkResult:
    return run(TINY)


def run(size: Size) -> BenchmarkResult:
    lasers = simulated_laser("one", 0), simulated_laser("another", 0)
    return run_benchmark(*lasers, FACILITY, size, 0, lambda *_: None)


def row(scorer: str, severity: float, auroc: float, recall: float) -> ScorerResult:
    interval = Auroc(auroc, auroc - 0.01, auroc + 0.01)
    return ScorerResult("one", "hot spot", severity, scorer, 100, interval, (1.0, 1.0, recall), recall)


FOUND = (row(DETECTOR, 0.05, 0.99, 0.9), row("cheat", 0.05, 0.9, 0.5))


def outcome_of(*rows: ScorerResult) -> BenchmarkResult:
    return BenchmarkResult({}, (LaserResult("one", "", True, FalseAlarms(1000, 0)),), rows, ())


def test_every_scorer_is_measured_on_every_case(outcome: BenchmarkResult) -> None:
    wanted = {anomaly.name for anomaly in ANOMALIES if anomaly.target}
    assert "report's autoencoder" in outcome.scorers()
    for laser in outcome.lasers:
        for scorer in outcome.scorers():
            rows = outcome.of(scorer, laser.laser)
            assert {row.anomaly for row in rows} == wanted
            assert len(rows) == 4 * len(wanted)


def test_of_the_two_lasers_the_network_knows_the_first(outcome: BenchmarkResult) -> None:
    assert [laser.trained_on for laser in outcome.lasers] == [True, False]
    assert [laser.false_alarms.normals for laser in outcome.lasers] == [300, 100]


def test_rules_find_what_they_are_for_and_nothing_else(outcome: BenchmarkResult) -> None:
    assert {rule.anomaly for rule in outcome.rules} >= {"black frame", "frozen frame", "missing device"}
    assert all(rule.found == 1 and rule.false == 0 for rule in outcome.rules)


def test_the_report_has_tables_figures_and_pictures(outcome: BenchmarkResult, tmp_path: Path) -> None:
    write_report(outcome, tmp_path / "new")
    text = (tmp_path / "new" / "report.md").read_text()
    assert "## Targets" in text
    assert "| hot spot |" in text
    figures = json.loads((tmp_path / "new" / "report.json").read_text())
    assert len(figures["rows"]) == len(outcome.rows)
    assert (tmp_path / "new" / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_figures(outcome: BenchmarkResult) -> None:
    again = run(replace(TINY, unseen_normals=0, report_epochs=0))
    others = [row for row in outcome.rows if row.laser == "one" and row.scorer != "report's autoencoder"]
    assert list(again.rows) == others


def test_a_process_that_fails_ends_the_run() -> None:
    unknown = Task(Case("a laser without a bench"), np.zeros(1, np.int64))
    with pytest.raises(RuntimeError, match="has failed"):
        next(score_all({}, [unknown]))


def test_a_scorer_that_distinguishes_severity_zero_from_normal_leaks() -> None:
    honest, leaking = row(DETECTOR, 0.0, 0.52, 0.0), row("cheat", 0.0, 0.54, 0.0)
    assert outcome_of(honest, leaking, row("cheat", 0.05, 0.9, 0.5)).leaks == [leaking]
    assert outcome_of(honest).leaks == []


def test_models_are_compared_by_what_they_find_and_by_their_alarms() -> None:
    found = outcome_of(row(DETECTOR, 0.0, 0.5, 0.0), *FOUND).figures()
    assert found == {"benchmark/normals": 1000, "benchmark/alarms": 0, "benchmark/hot_spot/0.05": 0.9}


def test_a_target_is_met_or_not_at_one_false_alarm_an_hour() -> None:
    for recall, met in ((0.95, True), (0.94, False)):
        (found,) = outcome_of(row(DETECTOR, 0.05, 0.99, recall)).targets
        assert found.met is met


def test_the_severity_found_half_of_the_time_is_compared_with_the_best_specialist() -> None:
    scorers = {"poor": (0.0, 0.1), "best": (0.4, 0.6), DETECTOR: (0.3, 0.5)}
    rows = [
        row(scorer, severity, 0.9, recall)
        for scorer, recalls in scorers.items()
        for severity, recall in zip((0.0, 0.1, 0.2), (0.0, *recalls), strict=True)
    ]
    (compared,) = outcome_of(*rows).severities("one")
    assert (compared.specialist, compared.best, compared.detector) == ("best", pytest.approx(0.15), 0.2)
    assert compared.ratio == pytest.approx(4 / 3)
    assert not compared.met
    assert "| hot spot | 0.2 | best | 0.15 | 1.33 | NO |" in markdown(outcome_of(*rows))


def test_delays_are_compared_with_the_best_specialist_and_a_change_that_none_finds_is_no_loss() -> None:
    found = DelayResult("one", "energy", 0.03, False, 5, 12.0, "meter, energy", 8.0)
    rows = [row(scorer, severity, 0.5, 0.0) for scorer in (DETECTOR, "other") for severity in (0.0, 0.1)]
    late = replace(found, drift=True, detector=13.0)
    lost, none = replace(found, detector=inf), replace(found, detector=inf, best=inf)
    assert [each.met for each in (found, late, lost, none)] == [True, False, False, True]
    assert (found.ratio, lost.ratio) == (1.5, None)
    text = markdown(replace(outcome_of(*rows), delays=(found, late, none)))
    assert "| energy step (share lost) | 0.03 | 12 | meter, energy | 8 | 1.50 | yes |" in text
    assert "| energy drift (share lost) | 0.03 | 13 | meter, energy | 8 | 1.62 | NO |" in text
    assert "Median delay" not in markdown(outcome_of(*rows))


def test_steps_begin_after_levels_were_learned_and_are_found_by_their_specialist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features are made up, because recording thousands of frames takes minutes."""

    def observed(
        scene: Scene, pulses: np.ndarray, anomaly: AnomalyClass | None, severity: float
    ) -> SimpleNamespace:
        deviates = noise.normal(pulses, "made up")
        change = BeamChange(np.ones(len(pulses)), np.zeros((len(pulses), 2), int))
        if anomaly is not None:
            change = anomaly.effects.beam(change, SceneBatch(scene, pulses), severity)
        energy = change.energy * (1 + 0.005 * deviates)
        place = 60 + 0.1 * noise.normal(pulses, "place") + change.shifts[:, 1] / scene.laser.factor
        return SimpleNamespace(features={METER: {"energy": energy}, CAMERA: {"centroid_x": place}})

    monkeypatch.setattr(delays, "observe", observed)
    monkeypatch.setattr(delays, "CHANGES", delays.CHANGES[:2])
    tail = Tail(2.6, 1.0)
    baselines = {
        METER: {"energy": Baseline(1.0, 0.005, tail, tail, Side.BOTH)},
        CAMERA: {"centroid_x": Baseline(60.0, 0.1, tail, tail, Side.BOTH)},
    }
    scene = Scene(simulated_laser("one", 0), np.arange(3), 0)
    pulses = 100 * np.arange(LEARNED_SHOTS + 3 * FOLLOWED_SHOTS, dtype=np.int64)
    results = measure_delays(scene, baselines, pulses, 3)
    assert {(each.change, each.specialist) for each in results} == {
        ("pointing", f"{CAMERA}, centroid_x"),
        ("energy", f"{METER}, energy"),
    }
    steps, drifts = ([each for each in results if each.drift is way] for way in (False, True))
    assert all(each.best <= each.detector < FOLLOWED_SHOTS for each in steps)
    assert all(drift.best > step.best for step, drift in zip(steps, drifts, strict=True))


def test_a_class_that_no_specialist_finds_is_no_loss() -> None:
    rows = [row(scorer, severity, 0.9, 0.0) for scorer in (DETECTOR, "other") for severity in (0.0, 0.1)]
    (compared,) = outcome_of(*rows).severities("one")
    assert (compared.detector, compared.best, compared.met) == (None, None, True)


def test_the_report_states_where_the_detector_is_behind() -> None:
    rows = [row(DETECTOR, 0.0, 0.5, 0.0), row("other", 0.0, 0.5, 0.0)]
    behind = outcome_of(*rows, row(DETECTOR, 0.05, 0.9, 0.4), row("other", 0.05, 0.9, 0.6))
    (compared,) = behind.comparisons
    assert (compared.baseline, compared.best) == ("other", 0.6)
    assert "BEHIND" in markdown(behind)


def test_the_command_fails_and_explains_why_when_the_benchmark_leaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    leaking = outcome_of(row(DETECTOR, 0.0, 0.5, 0.0), row("cheat", 0.0, 0.6, 0.0), *FOUND)
    monkeypatch.setattr(protocol, "run_benchmark", lambda *_: leaking)
    arguments = ["benchmark", "--facility", str(HPLS), "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "cheat on hot spot: 0.600" in " ".join(result.stderr.split())
    assert json.loads(result.stdout)["leaks"][0]["scorer"] == "cheat"
    assert (tmp_path / "report.md").exists()
