"""Summaries of the checks of many slices. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shotwatch_shots.reconciliation.outcome import NAMED, Imbalance
from shotwatch_shots.reconciliation.slices import Equality, Reconciled


@dataclass(frozen=True, slots=True)
class Found:
    """An imbalance, and the slice that has it."""

    slice: str
    imbalance: Imbalance

    def __str__(self) -> str:
        return f"{self.slice}: {self.imbalance.subject}: {self.imbalance.wrong}"


@dataclass(frozen=True, slots=True)
class Summary:
    """One equality in a time range."""

    equality: Equality
    counts: Mapping[str, int]
    found: tuple[Found, ...]
    """At most NAMED."""
    imbalances: int
    """How many there are, named or not."""
    under_way: int
    pending: tuple[Found, ...]
    """What is in progress; at most NAMED."""
    slices: int
    unchecked: int
    """Number of slices that have never been checked."""
    checked_at: int
    """Time of the oldest last check among the slices (epoch ms); 0 if there is none."""


def summaries_of(results: Iterable[Reconciled]) -> list[Summary]:
    """Return a summary of each equality."""
    by_equality: dict[Equality, list[Reconciled]] = {equality: [] for equality in Equality}
    for result in results:
        by_equality[result.slice.equality].append(result)
    return [_summary(equality, of_equality) for equality, of_equality in by_equality.items()]


def _summary(equality: Equality, results: list[Reconciled]) -> Summary:
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.outcome.counts)
    ordered = sorted(results, key=lambda result: result.slice)
    found = [Found(str(each.slice), wrong) for each in ordered for wrong in each.outcome.imbalances]
    pending = [Found(str(each.slice), waiting) for each in ordered for waiting in each.outcome.pending]
    checked = [result.checked_at for result in results if result.checked_at]
    return Summary(
        equality,
        dict(counts),
        tuple(found[:NAMED]),
        sum(result.outcome.total for result in results),
        sum(result.outcome.under_way for result in results),
        tuple(pending[:NAMED]),
        len(results),
        len(results) - len(checked),
        min(checked, default=0),
    )
