"""The shots of the archive as tables."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pyarrow as pa

from shotwatch_common.archive import Archive
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_tables.making import MeasuredBatch, make_table
from shotwatch_tables.schema import ShotTableSchema

ROWS_AT_ONCE = 600
"""Shots from which a table is made at once: a minute at 10 Hz."""
_UNTIL_REPORTED_MS = 120_000
"""An incident that lasts is reported once a minute; the next report shows that it covers a shot."""


class ArchivedShots:
    """Makes tables of the shots that the archive has."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def tables(
        self, schema: ShotTableSchema, start_ms: int, end_ms: int, interval: str | None = None
    ) -> AsyncIterator[pa.Table]:
        """Yield tables of the shots of a place with start <= pulse < end (epoch ms), sorted by time.

        No query holds the database longer than a search of shots does (ADR 33).

        Raises:
            Retry: the database does not answer.
        """
        wanted, pending = ShotFilter(area=schema.place, interval=interval), list[JudgedShot]()
        async for part in self._archive.shots.search(wanted, start_ms, end_ms):
            pending += part.shots
            if len(pending) >= ROWS_AT_ONCE:
                yield await self._table(schema, pending)
                pending = []
        if pending:
            yield await self._table(schema, pending)

    async def _table(self, schema: ShotTableSchema, shots: Sequence[JudgedShot]) -> pa.Table:
        batches = await self._batches(sorted({shot.batch for shot in shots}))
        return await asyncio.to_thread(make_table, schema, shots, batches, await self._events(shots))

    async def _batches(self, batch_ids: Sequence[str]) -> Mapping[str, MeasuredBatch]:
        batches = {}
        for id_ in batch_ids:
            batch = await self._archive.batches.find(id_)
            if batch is not None:
                batches[id_] = MeasuredBatch(batch, await self._archive.measurements.of_batch(id_))
        return batches

    async def _events(self, shots: Sequence[JudgedShot]) -> list[AnomalyEvent]:
        """Return the events that may be about these shots, or about incidents that they belong to."""
        flagged = [shot.pulse for shot in shots if shot.verdict.kinds]
        if not flagged:
            return []
        return await self._archive.events.between(min(flagged), max(flagged) + _UNTIL_REPORTED_MS)
