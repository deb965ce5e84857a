"""Reconciliation from the command line: check that all sources agree."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from aio_pika.abc import AbstractConnection

from shotwatch_cli.broker import connected
from shotwatch_cli.queues import stage_queues
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_operations.reconciliation.reconciler import Reconciler
from shotwatch_operations.reconciliation.tallying import tally_of
from shotwatch_shots.facility import Facility
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import Slice
from shotwatch_shots.reconciliation.summary import Summary, summaries_of

CHEAP_MS = 10_000
"""If the last checks of all slices of a span took no longer than this together, the whole span is checked
again.
"""
Progress = Callable[[Slice, int], None]
"""Called with the slice that is checked next, and the number of slices left."""


@dataclass(frozen=True, slots=True)
class LedgerBalance:
    """The final states of the objects that arrived in a span of time, and whether all sources agree."""

    tally: Tally
    summaries: Sequence[Summary]

    @property
    def imbalances(self) -> int:
        return sum(summary.imbalances for summary in self.summaries)

    @property
    def under_way(self) -> int:
        return sum(summary.under_way for summary in self.summaries)

    @property
    def unchecked(self) -> int:
        """Slices that have never been checked."""
        return sum(summary.unchecked for summary in self.summaries)

    @property
    def adds_up(self) -> bool:
        """Whether every slice was checked and no imbalance was found."""
        return not self.imbalances and not self.unchecked

    @property
    def problems(self) -> list[str]:
        """Each imbalance as text: `records 2022-07-01T07: object …: …`."""
        return [str(found) for summary in self.summaries for found in summary.found]

    @property
    def pending(self) -> list[str]:
        """Each item that is still under way, in the same form."""
        return [str(found) for summary in self.summaries for found in summary.pending]

    def record(self) -> dict[str, object]:
        return {
            "objects": self.tally.objects,
            **asdict(self.tally),
            "equalities": [asdict(summary) for summary in self.summaries],
            "imbalances": self.imbalances,
            "under_way": self.under_way,
            "unchecked": self.unchecked,
            "adds_up": self.adds_up,
            "problems": self.problems,
            "pending": self.pending,
        }


class BrokerQueues:
    """The broker's queues, read over a connection that the command line opens."""

    def __init__(self, connection: AbstractConnection, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology

    async def under_way(self, *stages: str) -> bool:
        """Return whether messages of these stages wait for a handler."""
        queues = [await stage_queues(self._connection, stage, self._topology) for stage in stages]
        return any(each.ready or each.retrying for each in queues)


@asynccontextmanager
async def reconciling(
    archive: Archive, store: ObjectStore, settings: BrokerSettings, facility: Facility | None = None
) -> AsyncIterator[Reconciler]:
    """Yield a reconciler that has a connection to the broker.

    Raises:
        Failure: the broker does not answer.
    """
    known = facility or load_facility(settings.facility)
    async with connected(settings.broker_url.get_secret_value()) as connection:
        queues = BrokerQueues(connection, Topology(settings.prefix))
        yield Reconciler(archive, Collector(archive, store, known, settings, queues, Allowances()))


async def take_balance(
    archive: Archive,
    reconciler: Reconciler,
    start: int,
    end: int,
    recheck: bool = False,
    progress: Progress = lambda _slice, _left: None,
) -> LedgerBalance:
    """Check what changed recently or is still open in [start, end) (epoch ms), and sum up all slices.

    Slices that were settled longer ago keep the result of their last check, unless `recheck` is set or
    checking the span is cheap.

    Raises:
        Retry: a server does not answer.
    """
    await reconciler.note_changes()
    to_check = await reconciler.recent()
    known = await archive.reconciliations.overlapping(start, end)
    if recheck or sum(result.took_ms for result in known) <= CHEAP_MS:
        await reconciler.note_occupied(start, end)
        known = await archive.reconciliations.overlapping(start, end)
        to_check |= {result.slice for result in known}
    chosen = sorted(each for each in to_check if each.overlaps(start, end))
    for left, each in zip(range(len(chosen), 0, -1), chosen, strict=True):
        progress(each, left)
        await reconciler.check(each)
    results = await archive.reconciliations.overlapping(start, end)
    return LedgerBalance(await tally_of(archive, results, start, end), summaries_of(results))
