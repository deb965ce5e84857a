"""The shot tables: files of closed hours, and the archive's shots where there is no file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, groupby
from typing import Self, TypeVar

import pyarrow as pa

from shotwatch_common.archive import Archive
from shotwatch_common.store import ObjectStore
from shotwatch_common.tables.ahead import ahead
from shotwatch_common.tables.archived import ROWS_AT_ONCE, ArchivedShots
from shotwatch_common.tables.part_reader import ANSWER_S, PartReader
from shotwatch_common.tables.stored_columns import stored_columns
from shotwatch_common.tables.table_store import TableStore
from shotwatch_query.domain.pages import EARLIEST_MS, Span
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.errors import Retry
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import Place
from shotwatch_tables.manifest import DayManifest, TableFile, day_folder, day_start
from shotwatch_tables.parts import MemoryPart, PartBounds, TablePart, row_groups
from shotwatch_tables.ranges import RangeReader
from shotwatch_tables.schema import ShotTableSchema
from shotwatch_tables.search import TableSearch

Result = TypeVar("Result")
SEARCHES_AT_ONCE = 2
"""Number of searches that compute at a time."""
FILES_AHEAD = 2
"""Number of files that are read while a search computes, and of threads that read for all searches."""
MANIFESTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class TablePlan:
    """The files and the gaps between them that a search reads, in order of time.

    Files that have no match by their manifest are left out.
    """

    search: TableSearch
    schema: ShotTableSchema
    steps: tuple[TableFile | Span, ...]

    @property
    def rows(self) -> int:
        """Maximum number of rows that the search reads."""
        period = self.search.period_ms
        return sum(
            each.rows if isinstance(each, TableFile) else (each.end - each.start) // period + 1
            for each in self.steps
        )

    @property
    def rows_at_once(self) -> int:
        """Maximum number of rows of a step that are in memory at a time."""
        return max((each.rows for each in self.steps if isinstance(each, TableFile)), default=ROWS_AT_ONCE)


class ShotTables:
    """Searches of shot tables, in threads of their own."""

    def __init__(self, archived: ArchivedShots, store: TableStore, facility: Facility) -> None:
        """Begin the threads; the event loop is the running one."""
        self._archived = archived
        self._store = store
        self._parts_of_files = PartReader(store, asyncio.get_running_loop())
        self._threads = ThreadPoolExecutor(SEARCHES_AT_ONCE, "tables")
        self._readers = ThreadPoolExecutor(FILES_AHEAD, "table-files")
        self.schema = cache(partial(ShotTableSchema.of, facility))
        """Return the columns of a place."""

    @classmethod
    @asynccontextmanager
    async def of(
        cls, archive: Archive, store: ObjectStore, bucket: str, facility: Facility
    ) -> AsyncIterator[Self]:
        tables = cls(ArchivedShots(archive), TableStore(store, bucket), facility)
        try:
            yield tables
        finally:
            for threads in (tables._threads, tables._readers):
                threads.shutdown(wait=False, cancel_futures=True)

    async def plan(self, place: Place, search: TableSearch) -> TablePlan:
        """Return what a search reads. The files that are current now are read, whatever replaces them later.

        Raises:
            Retry: the object store does not answer, or a manifest is malformed.
        """
        span = Span(max(search.start_ms - search.reach_ms, EARLIEST_MS), search.end_ms)
        days = range(day_start(span.start), span.end, DAY_MS) if span else range(0)
        files, without = list[TableFile](), set[str]()
        for some in (days[n : n + MANIFESTS_AT_ONCE] for n in range(0, len(days), MANIFESTS_AT_ONCE)):
            manifests = await asyncio.gather(*(self._manifest(place, day) for day in some))
            found = [file for manifest in manifests for file in manifest.files]
            without |= await asyncio.to_thread(self._without_match, place, search, found)
            files += (each.model_copy(update={"ranges": ""}) for each in found)  # 10 MB in a month
        to_read = (each for each in steps(span, files) if isinstance(each, Span) or each.key not in without)
        return TablePlan(search, self.schema(place), tuple(to_read))

    def _without_match(self, place: Place, search: TableSearch, files: Sequence[TableFile]) -> set[str]:
        """Return the keys of the files that have no match by the ranges of their columns."""
        schema, keys = self.schema(place).arrow, set[str]()
        ranges = RangeReader(schema.names)
        for each in files:
            with _named(each.key):
                if not search.may_match(ranges.read(each.ranges, search.inputs), schema):
                    keys.add(each.key)
        return keys

    async def _manifest(self, place: Place, day: int) -> DayManifest:
        with _named(day_folder(place, day)):
            return await self._store.manifest(place, day)

    async def run(self, plan: TablePlan, compute: Callable[[Iterator[TablePart]], Result]) -> Result:
        """Return what a function computes in a thread from the parts of the table.

        Raises what the function raises, and Retry if a server does not answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: compute(self._parts(plan, loop)))

    def _parts(self, plan: TablePlan, loop: asyncio.AbstractEventLoop) -> Iterator[TablePart]:
        for _, group in groupby(plan.steps, type):  # files, or gaps between them
            alike = list(group)
            files = (each for each in alike if isinstance(each, TableFile))
            reads = (partial(self._row_groups, plan, file) for file in files)
            yield from chain.from_iterable(ahead(reads, self._readers, FILES_AHEAD))
            spans = (each for each in alike if isinstance(each, Span))
            yield from chain.from_iterable(self._archived_parts(plan, span, loop) for span in spans)

    def _row_groups(self, plan: TablePlan, file: TableFile) -> list[TablePart]:
        with _named(file.key, self._parts_of_files.forget):
            columns = stored_columns(file, plan.schema.arrow, partial(self._parts_of_files.read, file))
            search = plan.search
            groups = row_groups(columns, search.pruning, search.inputs, search.needed)
            return [_NamedPart(file.key, each, self._parts_of_files.forget) for each in groups]

    def _archived_parts(
        self, plan: TablePlan, span: Span, loop: asyncio.AbstractEventLoop
    ) -> Iterator[TablePart]:
        tables = self._archived.tables(plan.schema, span.start, span.end, plan.search.interval)
        return map(MemoryPart, _waited_for(tables, loop))


@dataclass(frozen=True, slots=True)
class _NamedPart:
    """A part of a file; errors name the file."""

    key: str
    part: TablePart
    forget: Callable[[], None]

    @property
    def bounds(self) -> PartBounds | None:
        return self.part.bounds

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows.

        Raises:
            Retry: the file cannot be read.
        """
        with _named(self.key, self.forget):
            return self.part.read(columns)


@contextmanager
def _named(key: str, forget: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Name what is read from the store; forget what is kept of it if it cannot be read.

    Raises:
        Retry: it is not a table or a manifest. An administrator must mend or remove it.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        forget()
        raise Retry(f"{key} cannot be read, an administrator must mend or remove it: {error}") from error


def steps(span: Span, files: Sequence[TableFile]) -> Iterator[TableFile | Span]:
    """Yield the files with shots of the span, and the parts of the span that no file covers, by time.

    Args:
        span: the requested span.
        files: files of different hours, sorted by time. A file covers its hour.
    """
    at = span.start
    for file in files:
        begin, end = max(file.start, span.start), min(file.start + HOUR_MS, span.end)
        if begin >= end:
            continue
        if at < begin:
            yield Span(at, begin)
        if file.first < span.end and span.start <= file.last:
            yield file
        at = end
    if at < span.end:
        yield Span(at, span.end)


def _waited_for(tables: AsyncIterator[pa.Table], loop: asyncio.AbstractEventLoop) -> Iterator[pa.Table]:
    """Yield in a thread what an iterator yields in the event loop."""

    async def following() -> pa.Table | None:
        return await anext(tables, None)

    while (table := asyncio.run_coroutine_threadsafe(following(), loop).result(ANSWER_S)) is not None:
        yield table
