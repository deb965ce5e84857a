"""The protocol of the benchmark: learn from earlier shots, score later ones one at a time, count.

The shots to learn from come first, then the test, in which anomalous shots lie between the normal ones. So a
slow drift affects both alike, and shots with severity zero cannot be distinguished from normal ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np

from shotwatch_benchmark.anomalies import ANOMALIES, AnomalyClass
from shotwatch_benchmark.delays import FOLLOWED_SHOTS, LEARNED_SHOTS, DelayResult, measure_delays
from shotwatch_benchmark.lasers import Laser
from shotwatch_benchmark.learning import (
    Learned,
    adopt,
    baselines,
    learn,
    report_metric,
    report_network,
    train,
    transfer,
)
from shotwatch_benchmark.metrics import RATES, FalseAlarms, auroc, recall, threshold_at
from shotwatch_benchmark.observing import chunks
from shotwatch_benchmark.results import BenchmarkResult, LaserResult, ScorerResult
from shotwatch_benchmark.rules import measure_rules
from shotwatch_benchmark.scenes import Scene
from shotwatch_benchmark.scorers import DETECTOR, DetectorScorer, Scorer
from shotwatch_benchmark.workers import Bench, Case, ScoresOfScorers, Task, joined, score_all
from shotwatch_detector.bundle import Bundle
from shotwatch_shots.facility import Facility
from shotwatch_shots.pulses import Times
from shotwatch_training.temporary_files import private_temporary_files

PERIOD_MS = 100
BETWEEN_MS = 50
"""Anomalous shots lie between two pulses of the grid, so that none of them is also a normal one."""
RULE_SHOTS = 400

Progress = Callable[[str, int, int], None]
"""Called as progress(current step, number done, total number); 0 of 0 if the total is unknown."""


@dataclass(frozen=True, slots=True)
class Size:
    """The extent of a benchmark."""

    name: str
    normals: int
    """Normal shots that set the thresholds; one alarm an hour at 95 % confidence needs 108,000."""
    unseen_normals: int
    """The same for the laser that training never saw; 0: it is left out."""
    learning: int
    """Normal shots to learn from."""
    at_zero: int
    per_severity: int
    """Anomalous shots of each class."""
    targets_only: bool
    """Only classes with a target, at three severities around it; otherwise all classes."""
    epochs: int
    report_epochs: int
    """Epochs of the report's autoencoder; 0: it is left out."""
    delays: int
    """How often each step and drift is begun; 0: delays are left out."""


SMALL = Size("small", 4_000, 0, 1_500, 1_200, 200, True, 12, 0, 0)
FULL = Size("full", 112_000, 10_000, 3_000, 1_200, 200, False, 30, 5, 20)
SIZES = {size.name: size for size in (SMALL, FULL)}


@private_temporary_files()
def run_benchmark(
    laser: Laser,
    unseen: Laser,
    facility: Facility,
    size: Size,
    seed: int,
    progress: Progress,
    network: bytes | None = None,
) -> BenchmarkResult:
    """Train, calibrate and measure the detector and its baselines.

    `network` (TFLite), which was trained elsewhere, replaces the network that would otherwise be trained.

    Raises:
        TooLittleData: the frames show no beam.
    """
    lasers, benches = _benches(laser, unseen, facility, size, seed, progress, network)
    cases = dict(case for each, normals in lasers for case in _cases(each, normals, size))
    scores = _scored(benches, cases, progress)
    progress("counting", 0, 0)
    results = [
        _laser_result(benches[each.name], scores, each, each is laser and network is None)
        for each, _ in lasers
    ]
    rows = [row for case in scores for row in _rows(case, scores, benches, seed)]
    delays = _delays(benches[laser.name], size, progress)
    rules = measure_rules(benches[laser.name].scene, _test_pulses(size, RULE_SHOTS), facility)
    return BenchmarkResult(_setup(size, seed), tuple(results), tuple(rows), tuple(rules), tuple(delays))


def _benches(
    laser: Laser,
    unseen: Laser,
    facility: Facility,
    size: Size,
    seed: int,
    progress: Progress,
    network: bytes | None,
) -> tuple[list[tuple[Laser, int]], dict[str, Bench]]:
    """Return the lasers with the number of their normal shots, and by laser name the scorers fitted to it."""
    report = partial(_report_training, progress)
    learned = _learn(laser, size, seed, progress)
    bundle = (
        train(learned, size.epochs, seed, partial(report, "detector", size.epochs))
        if network is None
        else adopt(network, learned)
    )
    reported = (
        report_network(
            learned, size.report_epochs, seed, partial(report, "report's network", size.report_epochs)
        )
        if size.report_epochs
        else None
    )
    limit = facility.energy_disagreement
    benches = {laser.name: _bench(laser, learned, bundle, reported, limit, seed)}
    if not size.unseen_normals:
        return [(laser, size.normals)], benches
    of_unseen = _learn(unseen, size, seed, progress)
    benches[unseen.name] = _bench(unseen, of_unseen, transfer(bundle, of_unseen), reported, limit, seed)
    return [(laser, size.normals), (unseen, size.unseen_normals)], benches


def _learn(laser: Laser, size: Size, seed: int, progress: Progress) -> Learned:
    progress(f"{laser.name}: shots to learn from", 0, 0)
    return learn(laser, PERIOD_MS * np.arange(size.learning, dtype=np.int64), seed)


def _bench(
    laser: Laser, learned: Learned, bundle: Bundle, network: bytes | None, limit: float, seed: int
) -> Bench:
    others: list[Scorer] = baselines(learned, seed)
    if network is not None:
        others.append(report_metric(network, learned))
    return Bench(Scene(laser, laser.test, seed), [DetectorScorer(bundle, limit), *others])


def _report_training(
    progress: Progress, what: str, epochs: int, step: str, number: int = 0, **_figures: float
) -> None:
    progress(f"training: {what}, {step}", number, epochs)


def _cases(laser: Laser, normals: int, size: Size) -> Iterator[tuple[Case, Times]]:
    """Yield the pulses of the normal shots, and those of the anomalous ones, spread evenly between them."""
    test = _test_pulses(size, normals)
    yield Case(laser.name), test
    for anomaly in ANOMALIES:
        if anomaly.needs_mean and len(laser.sums) == 1:
            continue
        for severity in _severities(anomaly, size):
            count = size.per_severity if severity else size.at_zero
            between = test[np.linspace(0, len(test) - 1, count).astype(np.intp)] + BETWEEN_MS
            yield Case(laser.name, anomaly.name, severity), between


def _test_pulses(size: Size, count: int) -> Times:
    return PERIOD_MS * (size.learning + np.arange(count, dtype=np.int64))


def _severities(anomaly: AnomalyClass, size: Size) -> Sequence[float]:
    if not size.targets_only:
        return (0.0, *anomaly.severities)
    if anomaly.target is None:
        return ()
    at = anomaly.severities.index(anomaly.target.severity)
    return (0.0, *anomaly.severities[at - 1 : at + 2])


def _scored(
    benches: Mapping[str, Bench], cases: Mapping[Case, Times], progress: Progress
) -> dict[Case, ScoresOfScorers]:
    tasks = [Task(case, some) for case, pulses in cases.items() for some in chunks(pulses)]
    total, done = sum(len(task.pulses) for task in tasks), 0
    of_case: dict[Case, list[ScoresOfScorers]] = {case: [] for case in cases}
    for task, scores in zip(tasks, score_all(benches, tasks), strict=True):
        of_case[task.case].append(scores)
        done += len(task.pulses)
        progress("scoring shots", done, total)
    return {case: joined(of) for case, of in of_case.items()}


def _rows(
    case: Case, scores: Mapping[Case, ScoresOfScorers], benches: Mapping[str, Bench], seed: int
) -> Iterator[ScorerResult]:
    if case.anomaly is None:
        return
    normal = scores[Case(case.laser)]
    for name, anomalous in scores[case].items():
        thresholds = [threshold_at(normal[name].values, rate) for rate in RATES]
        own = _own_threshold(benches[case.laser]) if name == DETECTOR else None
        yield ScorerResult(
            laser=case.laser,
            anomaly=case.anomaly,
            severity=case.severity,
            scorer=name,
            shots=len(anomalous.values),
            auroc=auroc(normal[name], anomalous, seed),
            recalls=tuple(recall(anomalous.values, threshold) for threshold in thresholds),
            recall_at_own_threshold=None if own is None else recall(anomalous.values, own),
        )


def _own_threshold(bench: Bench) -> float:
    return _detector(bench).threshold


def _detector(bench: Bench) -> DetectorScorer:
    return next(scorer for scorer in bench.scorers if isinstance(scorer, DetectorScorer))


def _delays(bench: Bench, size: Size, progress: Progress) -> list[DelayResult]:
    if not size.delays:
        return []
    progress("steps and drifts", 0, 0)
    pulses = _test_pulses(size, LEARNED_SHOTS + size.delays * FOLLOWED_SHOTS)
    return measure_delays(bench.scene, _detector(bench).baselines, pulses, size.delays)


def _laser_result(
    bench: Bench, scores: Mapping[Case, ScoresOfScorers], laser: Laser, trained_on: bool
) -> LaserResult:
    values = scores[Case(laser.name)][DETECTOR].values
    alarms = FalseAlarms(len(values), int((values > _own_threshold(bench)).sum()))
    return LaserResult(laser.name, laser.origin, trained_on, alarms)


def _setup(size: Size, seed: int) -> dict[str, str | int]:
    return {
        "size": size.name,
        "seed": seed,
        "normals": size.normals,
        "anomalous shots per severity": size.per_severity,
        "anomalous shots of severity zero": size.at_zero,
        "normal shots to learn from": size.learning,
        "version": version("shotwatch-detector"),
    }
