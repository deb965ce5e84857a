"""Scoring in worker processes: a task is some shots of one kind, its result their scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

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


def score_all(benches: Mapping[str, Bench], tasks: Sequence[Task]) -> Iterator[ScoresOfScorers]:
    """Yield the scores of each task, in order.

    Each process gets every n-th task, and the benches once, because they are large.

    Raises:
        RuntimeError: a process failed; it has written its error to standard error.
    """
    with ExitStack() as stack:
        shares = [tasks[first::PROCESSES] for first in range(PROCESSES)]
        results = [stack.enter_context(_started(benches, share)) for share in shares]
        for number in range(len(tasks)):
            try:
                scores: ScoresOfScorers = results[number % PROCESSES].recv()
            except EOFError as error:
                raise RuntimeError("a process that scores shots has failed") from error
            yield scores


@contextmanager
def _started(benches: Mapping[str, Bench], tasks: Sequence[Task]) -> Iterator[Connection]:
    """Start a process that scores these tasks, and yield the connection on which it sends their scores."""
    context = get_context("spawn")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=_score_in_order, args=(benches, tasks, sender))
    process.start()
    # The process has its own copy. While ours were open, its end could not be noticed.
    sender.close()
    try:
        yield results
    finally:
        process.terminate()
        process.join()
        results.close()


def _score_in_order(benches: Mapping[str, Bench], tasks: Sequence[Task], results: Connection) -> None:
    # One thread, because the processes share the cores.
    with threadpool_limits(1):
        for task in tasks:
            results.send(_score(task, benches[task.case.laser]))


def _score(task: Task, bench: Bench) -> ScoresOfScorers:
    case = task.case
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
