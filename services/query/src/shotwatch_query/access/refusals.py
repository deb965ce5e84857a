"""Counting of refused requests, so that any number of them takes little room in the database and the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import structlog

from shotwatch_common.archive.audit import Audit, AuditLine
from shotwatch_query.problems import AWAY

EVERY_S = 60.0
MOST_KEPT = 100
"""Maximum number of callers and addresses that are counted separately in a minute."""


class Refusals:
    """The audit lines for refused requests, one count per caller, address and minute.

    The first refusal is stored at once. If there are more, another line with their number follows at the end
    of the minute, because lines of the audit are never changed. Beyond MOST_KEPT callers and addresses per
    minute, all others are counted together.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._last: dict[tuple[str, str], AuditLine] = {}
        """By caller and address. `count` is the number of requests that are not stored yet."""

    @classmethod
    @asynccontextmanager
    async def of(cls, audit: Audit) -> AsyncIterator[Self]:
        """Store the counts every minute, and on exit."""
        refusals = cls(audit)
        async with asyncio.TaskGroup() as tasks:
            storing = tasks.create_task(refusals._store_every_minute())
            yield refusals
            storing.cancel()
        await refusals.store_counts()

    async def note(self, line: AuditLine) -> None:
        """Count a refused request, and store its line if it is the first of its kind in this minute."""
        if (line.who, line.address) not in self._last and len(self._last) >= MOST_KEPT:
            line = replace(line, who="others", address="")
        kind = line.who, line.address
        if kind in self._last:
            self._last[kind] = replace(line, count=self._last[kind].count + 1)
            return
        self._last[kind] = replace(line, count=0)
        log = structlog.get_logger()
        log.info("refused", who=line.who, address=line.address, what=line.what, status=line.status)
        await self._store([line])

    async def store_counts(self) -> None:
        """Store how many more requests were refused in this minute, and begin another minute.

        If the database is unavailable, the numbers are only in the log.
        """
        last, self._last = self._last, {}
        repeated = [line for line in last.values() if line.count]
        log = structlog.get_logger()
        for line in repeated:
            log.warning("refused many times", who=line.who, address=line.address, count=line.count)
        await self._store(repeated)

    async def _store(self, lines: Sequence[AuditLine]) -> None:
        try:
            for line in lines:
                await self._audit.add(line)
        except AWAY as error:
            structlog.get_logger().warning("audit not stored", why=str(error))

    async def _store_every_minute(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.store_counts()
