"""Stragglers: files that have come, and whose records are not in their windows yet.

The lateness of a shot is the time that recorders are given, not the time that we take. After an outage of
ours the files lie in the inbox or on their way; the shots that they may belong to wait for them.
While a server is away nobody can look, and no window closes; the time of holding begins anew after that.
"""

from collections.abc import Collection

from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import Edges
from shotwatch_shots.errors import Retry
from shotwatch_shots.identity import object_id
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import WINDOW_MS, epoch_ms
from shotwatch_shots.vocabulary import ObjectState

LONGEST_HOLD_MS = 600_000
"""No file holds a window for longer: it may be lost (the watch over the ledger tells of it)."""


class Stragglers:
    """Says which windows wait for files, as of the last look."""

    def __init__(self, edges: Edges[AggregateSettings]) -> None:
        self._edges = edges
        self._starts: list[tuple[Place | None, str, int]] = []
        """Front end, interval and beginning of each file that is under way."""
        self._held_since: dict[str, int] = {}

    async def look(self, overdue: Collection[str]) -> None:
        """See what lies in the inbox and was not given up, and what was ingested and not joined.

        Raises:
            Retry: a server is away.
        """
        held_since, self._held_since = self._held_since, {}
        if not await self._edges.bus.ready():
            raise Retry("the broker does not answer: files may be on their way")
        ledger, bucket = self._edges.archive.ledger, self._edges.settings.inbox_bucket
        given_up = {each["_id"] for each in await ledger.overdue(ObjectState.DEAD_LETTERED, epoch_now())}
        unjoined = [each["key"] for each in await ledger.overdue(ObjectState.INGESTED, epoch_now())]
        waiting = [
            each.key
            async for each in self._edges.store.list(bucket)
            if object_id(bucket, each.key, each.etag) not in given_up
        ]
        names = map(self._edges.facility.file_name, [*waiting, *unjoined])
        self._starts = [(name.area, name.interval, epoch_ms(name.starts_at)) for name in names if name]
        self._held_since = {id_: since for id_, since in held_since.items() if id_ in overdue}

    def hold(self, window_id: str, series: ShotSeries, start: int) -> bool:
        """Whether the window that starts then is to stay open for a file that is under way."""
        wanted = any(
            interval == series.interval
            and abs(begins - start) < WINDOW_MS
            and (area is None or series.place.is_within(area))
            for area, interval, begins in self._starts
        )
        since = self._held_since.setdefault(window_id, epoch_now())
        return wanted and epoch_now() - since < LONGEST_HOLD_MS
