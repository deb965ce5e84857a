"""Searches of shots: whatever the filter, the span and the direction, they find what a plain filter finds."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.archive import Archive, shot_counts
from shotwatch_common.archive.shot_candidates import marks_of
from shotwatch_common.archive.shot_counts import MOST
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import shot_id, window_id
from shotwatch_shots.shot import ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind
from tests.support.database import CollectionInMemory, DatabaseClient

DAY, NOON = 86_400_000, 1_656_676_800_000
SERIES = ("LA-A1-11-100ms", "LA-A1-12-100ms", "LA-A1-12-60s", "LA-A2-00-1s", "LB-A1-11-100ms")
KINDS = (AnomalyKind.POINTING, AnomalyKind.MISSING_MEMBER)


@dataclass(frozen=True)
class Shot:
    """A shot as the test knows it."""

    series: str
    pulse: int
    score: float | None
    kinds: tuple[AnomalyKind, ...]
    complete: bool
    revision: int = 1

    @property
    def id(self) -> str:
        return shot_id(ShotSeries.parse(self.series), self.pulse)


EDGES = [-1, 0, 100, 59_999, 60_000, 3_599_999, 3_600_000, DAY // 2 - 1]
"""Times after noon (ms): the first and last of a minute, an hour and a day."""
PULSES = st.one_of(
    st.integers(0, 40).map(lambda n: NOON + 100 * n),  # a burst, in which times coincide
    st.tuples(st.integers(-3, 3), st.sampled_from(EDGES)).map(lambda at: NOON + at[0] * DAY + at[1]),
    st.sampled_from([0, NOON - 400 * DAY]),
)
SCORES = st.sampled_from([None, 0.5, 1.0, 2.5, 2.9, 3.0, 4.7, 55.0])
SHOTS = st.builds(
    Shot,
    st.sampled_from(SERIES),
    PULSES,
    SCORES,
    st.lists(st.sampled_from(KINDS), unique=True).map(tuple),
    st.booleans(),
)
VALUES: Mapping[str, Sequence[Any]] = {
    "area": [Place.parse(area) for area in ("LA", "LA-A1", "LA-A1-12", "LB-A1-11", "LC")],
    "interval": ["100ms", "60s", "10s"],
    "kind": [*KINDS, AnomalyKind.ENERGY],
    "min_score": [-1.0, 0.5, 1.0, 2.5, 4.7, 50.0, 60.0],
    "complete": [True, False],
}
FILTERS = st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True).flatmap(
    lambda names: st.builds(ShotFilter, **{name: st.sampled_from(VALUES[name]) for name in names})
)
"""Filters by up to two properties: with more of them, hardly any shot would match."""
SPANS = st.one_of(st.just((0, NOON + 4 * DAY)), st.tuples(PULSES, PULSES).map(sorted))


async def written(archive: Archive, shots: Sequence[Shot]) -> None:
    """Write the shots, one batch for each series and minute."""

    def place_and_time(shot: Shot) -> tuple[str, int]:
        return shot.series, shot.pulse // 60_000

    for (series, _), group in groupby(sorted(shots, key=place_and_time), place_and_time):
        some = sorted(group, key=lambda shot: shot.pulse)
        window = window_id(ShotSeries.parse(series), some[0].pulse)
        batch = ShotBatch(
            batch_id=f"{window}-{some[0].revision}",
            window_id=window,
            series=ShotSeries.parse(series),
            pulses=[shot.pulse for shot in some],
            revisions=[shot.revision for shot in some],
            complete=[shot.complete for shot in some],
            members=[],
            last_arrival=0,
        )
        verdicts = [ShotVerdict(shot.score, 5.0, shot.kinds) for shot in some]
        await archive.shots.write(batch, verdicts, None, "0" * 32)


def plainly(shots: Sequence[Shot], wanted: ShotFilter, start: int, end: int) -> list[str]:
    """Return the ids of the shots that match, by pulse and id."""
    area = None if wanted.area is None else f"{wanted.area}-"
    return [
        shot.id
        for shot in sorted(shots, key=lambda shot: (shot.pulse, shot.id))
        if start <= shot.pulse < end
        and (area is None or shot.series.startswith(area))
        and (wanted.interval is None or shot.series.split("-")[-1] == wanted.interval)
        and (wanted.kind is None or wanted.kind in shot.kinds)
        and (wanted.min_score is None or (shot.score is not None and wanted.min_score <= shot.score))
        and (wanted.complete is None or wanted.complete == shot.complete)
    ]


@given(
    most=st.sampled_from([3, MOST]),
    first=st.lists(SHOTS, max_size=24, unique_by=lambda shot: shot.id),
    later=st.lists(st.tuples(st.integers(0, 23), SHOTS), max_size=6),
    filters=st.lists(FILTERS, min_size=12, max_size=12),
    span=SPANS,
    limit=st.integers(0, 12),
    newest_first=st.booleans(),
)
def test_a_search_finds_what_a_plain_filter_finds(
    most: int,
    first: list[Shot],
    later: list[tuple[int, Shot]],
    filters: list[ShotFilter],
    span: Sequence[int],
    limit: int,
    newest_first: bool,
) -> None:
    start, end = span[0], span[1] + 1
    revised = {
        first[n].id: replace(other, series=first[n].series, pulse=first[n].pulse, revision=2)
        for n, other in later
        if n < len(first)
    }

    async def search() -> None:
        archive = Archive(DatabaseClient(), "shotwatch")
        await written(archive, first)
        await written(archive, list(revised.values()))
        now = [revised.get(shot.id, shot) for shot in first]
        for wanted in filters:
            matching = plainly(now, wanted, start, end)
            in_order = matching[::-1] if newest_first else matching
            page = await archive.shots.page(wanted, start, end, limit, newest_first)
            assert [shot.id for shot in page] == in_order[: limit or None]
            parts = [part async for part in archive.shots.search(wanted, start, end, newest_first, limit)]
            assert [shot.id for part in parts for shot in part.shots] == in_order
            in_time_order = parts[::-1] if newest_first else parts
            assert [in_time_order[0].start, *(part.end for part in in_time_order)] == [
                start,
                *(part.start for part in in_time_order[1:]),
                end,
            ]
            assert await archive.shots.count(wanted, start, end) == len(matching)

    with patch.object(shot_counts, "MOST", most), patch.object(shot_counts, "_FEWEST", min(2, most)):
        asyncio.run(search())


class Queries:
    """The sizes of the answers to the queries of a collection."""

    def __init__(self, collection: CollectionInMemory) -> None:
        self.sizes: list[int] = []
        self._find = collection.find
        self._collection = collection
        collection.find = self._counted  # type: ignore[method-assign]

    def _counted(self, *arguments: object) -> object:
        found = self._find(*arguments)  # type: ignore[arg-type]
        documents = list(found.find())
        self.sizes.append(len(documents))
        return found


@pytest.mark.parametrize(
    ("wanted", "most_queries"),
    [
        (ShotFilter(), 8),
        (ShotFilter(area=Place.parse("LA-A2-00")), 5),
        (ShotFilter(interval="60s"), 5),
        (ShotFilter(kind=AnomalyKind.POINTING), 2),
        (ShotFilter(min_score=6.5), 2),
        (ShotFilter(complete=False), 2),
        (ShotFilter(area=Place.parse("LA-A2-00"), min_score=6.5), 2),
        (ShotFilter(area=Place.parse("LC")), 0),
    ],
)
async def test_a_search_reads_about_as_much_as_it_finds(wanted: ShotFilter, most_queries: int) -> None:
    shots = [
        Shot(series, minute + n * period, 7.0 if n == 17 else 0.2, KINDS[:1] if n == 18 else (), n != 19)
        for series, period, count in (
            ("LA-A1-11-100ms", 200, 300),
            ("LB-A1-11-100ms", 200, 300),
            ("LA-A2-00-1s", 1000, 60),
            ("LA-A1-12-60s", 60_000, 1),
        )
        for minute in (NOON - 90 * DAY, NOON - 60_000, NOON, NOON + 60_000)
        for n in range(count)
    ]
    client = DatabaseClient()
    archive = Archive(client, "shotwatch")
    await written(archive, shots)
    queries = Queries(client["shotwatch"]["shots"])
    found = await archive.shots.page(wanted, NOON - 3000 * DAY, NOON + DAY)
    assert [shot.id for shot in found] == plainly(shots, wanted, 0, 2 * NOON)
    assert max(queries.sizes, default=0) <= MOST + len(SERIES)  # a part may end just after a pulse of each
    assert len(queries.sizes) <= most_queries


@pytest.mark.parametrize("made_up", [NOON - 5 * DAY, NOON + 30_000, NOON + 5 * DAY])
async def test_reconciliation_reads_shots_that_were_not_counted(made_up: int) -> None:
    shots = [Shot(SERIES[0], NOON + 10_000 * n, None, (), True) for n in range(9)]
    client = DatabaseClient()
    archive = Archive(client, "shotwatch")
    await written(archive, shots)
    collection = client["shotwatch"]["shots"]
    one = next(iter(collection.documents.values()))
    await collection.insert_one({**one, "_id": "made-up", "pulse": made_up})
    pulses = sorted([made_up, *(shot.pulse for shot in shots)])
    for start in (0, *pulses, *(pulse + 1 for pulse in pulses)):
        later = [pulse for pulse in pulses if pulse >= start]
        assert await archive.shots.first_pulse(start, 2 * NOON) == (later[0] if later else None)
    stored = await archive.shots.stored(NOON - 60_000, NOON + 60_000)
    assert ("made-up" in {shot.id for shot in stored}) == (abs(made_up - NOON) < 60_000)
    assert len(stored) == 6 + (abs(made_up - NOON) < 60_000)


def test_the_reasons_for_a_mark_are_rare() -> None:
    common = ShotVerdict(0.9, 5.0)
    assert marks_of(common, complete=True) == []
    assert marks_of(ShotVerdict(None, None), complete=True) == []
