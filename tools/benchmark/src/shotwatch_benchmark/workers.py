"""Scoring in worker processes: a task is some shots of one kind, its result their scores."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from shotwatch_benchmark.anomalies import BY_NAME
from shotwatch_benchmark.metrics import ShotScores
from shotwatch_benchmark.observing import observe
from shotwatch_benchmark.scenes import Scene
from shotwatch_benchmark.scorers import Scorer
from shotwatch_shots.pulses import Times

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Case:
    """Shots of one laser with one anomaly at one severity, or normal shots."""

    laser: str
    anomaly: str | None = None
    severity: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A case at some of its pulses."""

    case: Case
    pulses: Times


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The test block of a laser, and the scorers fitted to its earlier shots."""

    scene: Scene
    scorers: Sequence[Scorer]


ScoresOfScorers = dict[str, ShotScores]
"""Scorer → its scores for a case's shots."""

_benches: dict[str, Bench] = {}
"""The benches of this process. Tasks do not contain them, because they would be too large."""


def score_all(benches: Mapping[str, Bench], tasks: Sequence[Task]) -> Iterator[tuple[int, ScoresOfScorers]]:
    """Yield the number and the scores of each task, in the order in which tasks finish."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _start, (benches,)) as pool:
        numbers = {pool.submit(score, task): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def score(task: Task) -> ScoresOfScorers:
    """Return the scores of a task's shots."""
    bench, case = _benches[task.case.laser], task.case
    anomaly = BY_NAME[case.anomaly] if case.anomaly else None
    observed = observe(bench.scene, task.pulses, anomaly, case.severity)
    blocks = observed.shots.blocks
    return {scorer.name: ShotScores(scorer.score(observed), blocks) for scorer in bench.scorers}


def joined(parts: Sequence[ScoresOfScorers]) -> ScoresOfScorers:
    """Return the joined scores of several tasks of one case."""
    return {
        name: ShotScores(
            np.concatenate([part[name].values for part in parts]),
            np.concatenate([part[name].blocks for part in parts]),
        )
        for name in parts[0]
    }


def _start(benches: Mapping[str, Bench]) -> None:
    """Limit each process to one thread, because the processes share the cores."""
    threadpool_limits(1)
    _benches.update(benches)
