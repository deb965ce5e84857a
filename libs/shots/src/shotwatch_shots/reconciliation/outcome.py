"""The outcome of a comparison of two sources that must agree about the same things. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shotwatch_shots.reconciliation.sides import Tally

NAMED = 100
"""Number of imbalances that a check names; it only counts the others."""


@dataclass(frozen=True, slots=True, order=True)
class Imbalance:
    """One thing about which two sources disagree."""

    subject: str
    """`object …`, `shot …`, `event number …`."""
    wrong: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a comparison."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How many things each side has."""
    imbalances: tuple[Imbalance, ...] = ()
    """At most NAMED."""
    more: int = 0
    """Number of imbalances that are not named."""
    under_way: int = 0
    """Number of things that will either be accounted for or become imbalances."""
    pending: tuple[Imbalance, ...] = ()
    """Those things, as the imbalances that they would be; at most NAMED."""
    tally: Tally | None = None
    """The tally of the objects whose records were compared."""

    @property
    def total(self) -> int:
        """How many imbalances there are, named or not."""
        return len(self.imbalances) + self.more

    @classmethod
    def of(cls, outcomes: Iterable["Outcome"]) -> "Outcome":
        """Return the sum of several outcomes."""
        total = OutcomeBuilder()
        for outcome in outcomes:
            for name, count in outcome.counts.items():
                total.counts[name] += count
            for imbalance in outcome.imbalances:
                total.wrong(imbalance.subject, imbalance.wrong)
            total.more += outcome.more
            total.under_way += outcome.under_way
            total.pending += outcome.pending[: NAMED - len(total.pending)]
        return total.outcome()


@dataclass(slots=True)
class OutcomeBuilder:
    """An outcome under construction."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    imbalances: list[Imbalance] = field(default_factory=list)
    more: int = 0
    under_way: int = 0
    pending: list[Imbalance] = field(default_factory=list)

    def wrong(self, subject: str, wrong: str) -> None:
        if len(self.imbalances) < NAMED:
            self.imbalances.append(Imbalance(subject, wrong))
        else:
            self.more += 1

    def late(self, subject: str, wrong: str, still_under_way: bool) -> None:
        """Add an imbalance, or a pending one if it is still in progress."""
        if still_under_way:
            self.wait(subject, wrong)
        else:
            self.wrong(subject, wrong)

    def wait(self, subject: str, why: str) -> None:
        """Add something that is in progress."""
        self.under_way += 1
        if len(self.pending) < NAMED:
            self.pending.append(Imbalance(subject, why))

    def outcome(self) -> Outcome:
        named = tuple(self.imbalances), self.more
        return Outcome(dict(self.counts), *named, self.under_way, tuple(self.pending))
