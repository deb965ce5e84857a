"""The number of shots in each minute, hour and day, from which a search decides what to read at once.

SecantusDB reads every document of a range, whatever the limit is (ADR 33). So a search must know how many
documents a range has before it reads it. Each minute, hour and day with shots has a document with upper
bounds: for each series, the number of its shots, and of those with each mark. A search reads the counts of
days, and those of hours and minutes only where a day has too many shots to read at once. So it skips time
without matching shots, and one query holds the database for 10 to 20 ms.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from pymongo import DeleteOne, UpdateOne

from shotwatch_common.archive.driver import Database, Document, Filter, Write
from shotwatch_common.archive.readable import all_readable, needed, number, numbers
from shotwatch_common.archive.shot_candidates import ALL, Candidates, Counts, Estimator, counted_as
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.shot import JudgedShot, ShotFilter, ShotVerdict

MOST = 400
"""Number of documents that one query reads at most. SecantusDB takes 25 to 50 µs of CPU for each.

A minute with more is divided evenly. So where shots fill only a part of a minute, a query may read more.
"""
LEVELS_MS = (86_400_000, 3_600_000, 60_000)
"""Lengths of the time ranges that are counted, in ms."""
_NAME = "shot_counts"
_EXTENT = "extent"
_FIRST_READ, _LARGEST_READ = 4, 128
"""Numbers of neighbouring days, hours or minutes whose counts are read at once."""
_FEWEST = 50


@dataclass(frozen=True, slots=True)
class SpanPart:
    """A part of a span that is read at once: times with start <= t < end, epoch ms."""

    start: int
    end: int
    queries: tuple[Filter, ...] = ()
    """The equalities of the queries that find its shots. Without any, no shot in it matches."""

    def __bool__(self) -> bool:
        return self.start < self.end

    def near_edge(self, newest_first: bool) -> int:
        """Return the time at which it begins in reading order."""
        return self.end if newest_first else self.start

    def far_edge(self, newest_first: bool) -> int:
        """Return the time at which it ends in reading order."""
        return self.start if newest_first else self.end

    def until(self, edge: int, newest_first: bool) -> tuple["SpanPart", "SpanPart"]:
        """Return the parts before and after a time, in reading order."""
        earlier, later = SpanPart(self.start, edge), SpanPart(edge, self.end)
        return (later, earlier) if newest_first else (earlier, later)


@dataclass(slots=True)
class _Size:
    """The number of documents that a part has at most; it doubles with each part, up to MOST."""

    most: int

    def grow(self) -> None:
        self.most = min(2 * self.most, MOST)


class ShotCounts:
    """Collection `shot_counts`: `_id` is length and start of a time range.

    The counts of a range are upper bounds: a shot that is written again counts again. The document `extent`
    holds the times of the first and the last shot, and when a shot was judged for the first time. If it is
    malformed, reading it raises Retry.
    """

    def __init__(self, database: Database) -> None:
        self._counts = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._counts.create_index([("length", 1), ("start", 1)])

    async def add(self, batch: ShotBatch, verdicts: Sequence[ShotVerdict]) -> None:
        """Count the shots of a batch. Call this before they are stored, so that every search finds them."""
        pulses, complete = batch.pulses.tolist(), batch.complete.tolist()
        ranges = _counted(zip(pulses, map(counted_as, verdicts, complete), strict=True))
        extent = {
            "$min": {"first": int(batch.pulses.min()), "judged_at": epoch_now()},
            "$max": {"last": int(batch.pulses.max())},
        }
        await self._counts.bulk_write(
            [
                UpdateOne({"_id": _EXTENT}, extent, upsert=True),
                *(_addition(str(batch.series), *range_, counts) for range_, counts in ranges.items()),
            ],
            ordered=False,
        )

    async def subtract(self, shots: Sequence[JudgedShot]) -> None:
        """Stop counting shots that have been deleted; remove what then counts none.

        Call this after they are deleted. If the caller fails before, too many are counted, never too few.
        """
        of_series: dict[str, list[tuple[int, list[str]]]] = {}
        for shot in shots:
            named = (shot.pulse, counted_as(shot.verdict, shot.complete))
            of_series.setdefault(str(shot.series), []).append(named)
        changed = [
            (series, f"{length}/{start}", counts)
            for series, counted in of_series.items()
            for (length, start), counts in _counted(counted).items()
        ]
        if not changed:
            return
        steps: tuple[list[Write], ...] = (
            [UpdateOne({"_id": id_}, _increments(series, counts, -1)) for series, id_, counts in changed],
            [
                UpdateOne({"_id": id_, f"at_most.{series}.all": 0}, {"$unset": {f"at_most.{series}": ""}})
                for series, id_, _ in changed
            ],
            [DeleteOne({"_id": id_, "at_most": {}}) for _, id_, _ in changed],
        )
        for writes in steps:
            await self._counts.bulk_write(writes, ordered=False)

    async def parts(
        self, wanted: ShotFilter, start_ms: int, end_ms: int, newest_first: bool = False, limit: int = 0
    ) -> AsyncIterator[SpanPart]:
        """Yield parts of the span [start, end) (epoch ms) in reading order, which together cover it.

        A query of a part yields up to MOST documents. With a `limit` (0 = none), the first parts are smaller.
        """
        span = SpanPart(start_ms, end_ms)
        if end_ms - start_ms == 1:
            # One instant has one shot of each series at most.
            yield SpanPart(start_ms, end_ms, ({},))
            return
        first, last = await self._extent()
        before, rest = span.until(min(max(first, start_ms), end_ms), newest_first=False)
        within, after = rest.until(min(max(last + 1, rest.start), end_ms), newest_first=False)
        size = _Size(min(max(2 * limit, _FEWEST), MOST) if limit else MOST)
        early, late = (after, before) if newest_first else (before, after)
        if early:
            yield early
        async for part in self._parts(Estimator(wanted), within, newest_first, 0, size):
            yield part
        if late:
            yield late

    async def first_judged(self) -> int | None:
        """Return when a shot was judged for the first time (epoch ms); None if none was."""
        known = {"_id": _EXTENT, "judged_at": {"$exists": True}}
        document = await self._counts.find_one(known, {"judged_at": 1})
        return needed(document, lambda extent: number(extent["judged_at"]), _NAME)

    async def _extent(self) -> tuple[int, int]:
        document = await self._counts.find_one({"_id": _EXTENT})
        extent = needed(document, lambda each: (number(each["first"]), number(each["last"])), _NAME)
        return (0, -1) if extent is None else extent

    async def _parts(
        self, estimator: Estimator, span: SpanPart, newest_first: bool, level: int, size: _Size
    ) -> AsyncIterator[SpanPart]:
        """Yield the parts of a span. Where a range has too many documents, go to the next level."""
        rest = span
        for chunk in _chunks(span, LEVELS_MS[level], newest_first):
            pending, edge = Candidates(), 0
            for range_, counts in await self._read(LEVELS_MS[level], chunk, newest_first):
                found = estimator.candidates(counts)
                if not found.total:
                    continue
                if (pending + found).documents > size.most and pending.total:
                    part, rest = rest.until(edge, newest_first)
                    yield SpanPart(part.start, part.end, pending.queries)
                    size.grow()
                    pending = Candidates()
                if found.documents <= size.most:
                    pending, edge = pending + found, range_.far_edge(newest_first)
                    continue
                skipped, rest = rest.until(range_.near_edge(newest_first), newest_first)
                dense, rest = rest.until(range_.far_edge(newest_first), newest_first)
                if skipped:
                    yield skipped
                if level + 1 < len(LEVELS_MS):
                    async for part in self._parts(estimator, dense, newest_first, level + 1, size):
                        yield part
                else:
                    for part in _divided(dense, found, newest_first, size):
                        yield part
            if pending.total:
                part, rest = rest.until(edge, newest_first)
                yield SpanPart(part.start, part.end, pending.queries)
                size.grow()
            skipped, rest = rest.until(chunk.far_edge(newest_first), newest_first)
            if skipped:
                yield skipped

    async def _read(self, length: int, span: SpanPart, newest_first: bool) -> list[tuple[SpanPart, Counts]]:
        """Return the counted ranges of a length that overlap a span, in reading order, clipped to it."""
        starts = {"$gte": span.start // length * length, "$lt": span.end}
        found = self._counts.find({"length": length, "start": starts})
        ranges = await all_readable(found, _range, _NAME)
        return [
            (SpanPart(max(start, span.start), min(start + length, span.end)), counts)
            for start, counts in sorted(ranges, key=itemgetter(0), reverse=newest_first)
        ]


def _range(document: Document) -> tuple[int, Counts]:
    """Return start and counts of a counted range."""
    length, start = number(document["length"]), number(document["start"])
    if document["_id"] != f"{length}/{start}" or start % length:
        raise ValueError(f"{length} ms from {start} are not a counted range with this id")
    at_most = {series: numbers(named) for series, named in document["at_most"].items()}
    if not all(ALL in named for named in at_most.values()):
        raise ValueError("it lacks the count of all shots of a series")
    return start, at_most


def _addition(series: str, length: int, start: int, counts: Counter[str]) -> UpdateOne:
    return UpdateOne(
        {"_id": f"{length}/{start}"},
        {**_increments(series, counts, 1), "$setOnInsert": {"length": length, "start": start}},
        upsert=True,
    )


def _increments(series: str, counts: Counter[str], factor: int) -> Filter:
    return {"$inc": {f"at_most.{series}.{name}": factor * count for name, count in counts.items()}}


def _counted(shots: Iterable[tuple[int, Iterable[str]]]) -> dict[tuple[int, int], Counter[str]]:
    """Return how often each name counts in each range. Shots are given as pulse and names."""
    ranges: dict[tuple[int, int], Counter[str]] = {}
    for pulse, names in shots:
        for length in LEVELS_MS:
            ranges.setdefault((length, pulse // length * length), Counter()).update(names)
    return ranges


def _chunks(span: SpanPart, length: int, newest_first: bool) -> Iterator[SpanPart]:
    """Yield parts of a span in reading order: first of few ranges of a length, then of more."""
    rest, ranges = span, _FIRST_READ
    while rest:
        if newest_first:
            edge = max(span.start, ((rest.end - 1) // length - ranges + 1) * length)
        else:
            edge = min(span.end, (rest.start // length + ranges) * length)
        chunk, rest = rest.until(edge, newest_first)
        yield chunk
        ranges = min(4 * ranges, _LARGEST_READ)


def _divided(span: SpanPart, found: Candidates, newest_first: bool, size: _Size) -> Iterator[SpanPart]:
    """Yield parts of a span with too many documents in reading order, as if these were spread evenly."""
    rest, length = span, span.end - span.start
    while rest:
        step = min(max(length * size.most // found.documents, 1), rest.end - rest.start)
        part, rest = rest.until(rest.end - step if newest_first else rest.start + step, newest_first)
        yield SpanPart(part.start, part.end, found.queries)
        size.grow()
