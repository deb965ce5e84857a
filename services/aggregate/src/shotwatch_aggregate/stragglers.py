"""Stragglers: files that have arrived, but whose records are not in their windows yet.

The lateness of a shot is time for the recorders, not for this system. After an outage of this system, files
wait in the inbox or in queues, and the shots that they may belong to wait for them. While a server is
unavailable, the check fails and no window closes; afterwards the time for which a window is held is counted
from zero.
"""

from collections.abc import Collection

from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import ServiceContext
from shotwatch_shots.errors import Retry
from shotwatch_shots.identity import object_id
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import WINDOW_MS, epoch_ms
from shotwatch_shots.vocabulary import ObjectState

LONGEST_HOLD_MS = 600_000
"""Maximum time for which files keep a window open, in ms. The ledger check reports lost files."""


class Stragglers:
    """The windows that wait for files, as of the last check."""

    def __init__(self, context: ServiceContext[AggregateSettings]) -> None:
        self._context = context
        self._starts: list[tuple[Place | None, str, int]] = []
        """Area, interval and start (epoch ms) of each file that is under way."""
        self._held_since: dict[str, int] = {}

    async def poll(self, overdue: Collection[str]) -> None:
        """Find the files that are under way: in the inbox and not dead-lettered, or ingested and not joined.

        Raises:
            Retry: a server is unavailable.
        """
        held_since, self._held_since = self._held_since, {}
        if not await self._context.bus.ready():
            raise Retry("the broker does not answer: files may be on their way")
        ledger, bucket = self._context.archive.ledger, self._context.settings.inbox_bucket
        given_up = {each.id for each in await ledger.overdue(ObjectState.DEAD_LETTERED, epoch_now())}
        unjoined = [each.key for each in await ledger.overdue(ObjectState.INGESTED, epoch_now())]
        waiting = [
            each.key
            async for each in self._context.store.list(bucket)
            if object_id(bucket, each.key, each.etag) not in given_up
        ]
        names = map(self._context.facility.file_name, [*waiting, *unjoined])
        self._starts = [(name.area, name.interval, epoch_ms(name.starts_at)) for name in names if name]
        self._held_since = {id_: since for id_, since in held_since.items() if id_ in overdue}

    def hold(self, window_id: str, series: ShotSeries, start: int) -> bool:
        """Return whether the window with this start (epoch ms) must stay open for a file under way."""
        wanted = any(
            interval == series.interval
            and abs(begins - start) < WINDOW_MS
            and (area is None or series.place.is_within(area))
            for area, interval, begins in self._starts
        )
        since = self._held_since.setdefault(window_id, epoch_now())
        return wanted and epoch_now() - since < LONGEST_HOLD_MS
