"""The documents that a search of shots must read: marks of shots, and what each index yields."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from shotwatch_common.archive.driver import Filter
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import ShotFilter, ShotVerdict

SCORE_LEVELS = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 20, 50, 100)
"""Scores from which shots have a mark. A score is -log₁₀ p, so a tenth of the shots reach 1."""
ALL, _COMPLETE, _SCORED, _INCOMPLETE = "all", "complete", "scored", "incomplete"
_NOT_INDEXED = (ALL, _COMPLETE, _SCORED)
_QUERY_COST = 20
"""Cost of a query beside its documents, as a number of documents."""


def marks_of(verdict: ShotVerdict, complete: bool) -> list[str]:
    """Return the rare properties of a shot. The database has an index of these marks and the time."""
    score = verdict.score
    return [
        *(kind.value for kind in verdict.kinds),
        *((_INCOMPLETE,) if not complete else ()),
        *(_score_mark(level) for level in SCORE_LEVELS if score is not None and score >= level),
    ]


def _score_mark(level: float) -> str:
    """Return the name of a level. A name with a point would be a path in a document."""
    return f"score {level:g}".replace(".", ",")


def counted_as(verdict: ShotVerdict, complete: bool) -> list[str]:
    """Return under which names a shot is counted."""
    return [
        ALL,
        *((_COMPLETE,) if complete else ()),
        *((_SCORED,) if verdict.score is not None else ()),
        *marks_of(verdict, complete),
    ]


def _names_of(wanted: ShotFilter) -> list[str]:
    """Return names under which every shot is counted that the filter accepts."""
    names = [] if wanted.kind is None else [wanted.kind.value]
    if wanted.min_score is not None:
        reached = [level for level in SCORE_LEVELS if level <= wanted.min_score]
        names.append(_score_mark(reached[-1]) if reached else _SCORED)
    if wanted.complete is not None:
        names.append(_COMPLETE if wanted.complete else _INCOMPLETE)
    return names


Counts = Mapping[str, Mapping[str, int]]
"""Series → name → how many of its shots are counted under this name, at most."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Numbers of documents that each index yields, at most, for a time range in which shots may match."""

    total: int = 0
    places: Counter[str] = field(default_factory=Counter)
    """By place, for the places at which shots may match."""
    marks: Counter[str] = field(default_factory=Counter)
    """By mark, for the marks that all matching shots have."""

    def __add__(self, other: "Candidates") -> "Candidates":
        return Candidates(self.total + other.total, self.places + other.places, self.marks + other.marks)

    @property
    def documents(self) -> int:
        """How many documents the cheapest queries yield, at most."""
        return self._cheapest()[0]

    @property
    def queries(self) -> tuple[Filter, ...]:
        """The equalities of the cheapest queries that find all matching shots."""
        return self._cheapest()[1]

    def _cheapest(self) -> tuple[int, tuple[Filter, ...]]:
        ways: list[tuple[int, tuple[Filter, ...]]] = [
            (self.total, ({},)),
            (self.places.total(), tuple({"place": place} for place in self.places)),
            *((count, ({"marks": mark},)) for mark, count in self.marks.items()),
        ]
        return min(ways, key=lambda way: way[0] + _QUERY_COST * len(way[1]))


class Estimator:
    """An estimator of the documents that must be read for one filter."""

    def __init__(self, wanted: ShotFilter) -> None:
        self._wanted = wanted
        self._names = _names_of(wanted)
        self._marks = [name for name in self._names if name not in _NOT_INDEXED]
        self._places: dict[str, str | None] = {}
        """Series → its place, or None if the filter does not accept the series."""

    def candidates(self, counts: Counts) -> Candidates:
        """Return how many documents must be read to find the shots of a time range that match."""
        places = {
            place
            for series, named in counts.items()
            if (place := self._place_of(series)) and all(named.get(name) for name in self._names)
        }
        if not places:
            return Candidates()
        total, by_place, by_mark = 0, Counter[str](), Counter[str]()
        for series, named in counts.items():
            total += named[ALL]
            place = series.rpartition("-")[0]
            if place in places:
                by_place[place] += named[ALL]
            for mark in self._marks:
                by_mark[mark] += named.get(mark, 0)
        return Candidates(total, by_place, by_mark)

    def _place_of(self, text: str) -> str | None:
        if text not in self._places:
            self._places[text] = self._accepted_place(text)
        return self._places[text]

    def _accepted_place(self, text: str) -> str | None:
        try:
            series = ShotSeries.parse(text)
        except ValueError:  # nobody but a forger counts shots of something that is not a series
            return None
        return str(series.place) if self._wanted.accepts_series(series) else None
