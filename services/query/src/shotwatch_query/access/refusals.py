"""Refused requests, counted: however many there are, they take little room in the database and the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

import structlog

from shotwatch_common.archive.audit import Audit, AuditLine
from shotwatch_query.problems import AWAY

EVERY_S = 60.0
MOST_KEPT = 100
"""Callers and addresses that are told apart in a minute."""


@dataclass(slots=True)
class _Refused:
    line: AuditLine
    id: str | None
    """None when the database was away."""
    count: int = 1


class Refusals:
    """A line of the audit for each caller, address and minute, of which requests were refused.

    The line is that of the first of them, and is stored at once; their number is stored at the end of the
    minute. Beyond MOST_KEPT lines a minute, all others are one line of nobody in particular.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._kept: dict[tuple[str, str], _Refused] = {}

    @classmethod
    @asynccontextmanager
    async def of(cls, audit: Audit) -> AsyncIterator[Self]:
        """Store counts every minute meanwhile, and on the way out."""
        refusals = cls(audit)
        async with asyncio.TaskGroup() as tasks:
            storing = tasks.create_task(refusals._store_every_minute())
            yield refusals
            storing.cancel()
        await refusals.store_counts()

    async def note(self, line: AuditLine) -> None:
        """Count a refused request, and store its line if it is the first of its kind in this minute."""
        if (line.who, line.address) not in self._kept and len(self._kept) >= MOST_KEPT:
            line = replace(line, who="others", address="")
        known = self._kept.get((line.who, line.address))
        if known is not None:
            known.count += 1
            return
        first = self._kept[line.who, line.address] = _Refused(line, None)
        log = structlog.get_logger()
        log.info("refused", who=line.who, address=line.address, what=line.what, status=line.status)
        try:
            first.id = await self._audit.add(line)
        except AWAY as error:
            log.warning("audit not stored", why=str(error))

    async def store_counts(self) -> None:
        """Store how many requests each line of this minute stands for, and begin another minute.

        If the database is away, the numbers are in the log alone.
        """
        kept, self._kept = self._kept, {}
        repeated = [each for each in kept.values() if each.count > 1]
        log = structlog.get_logger()
        for each in repeated:
            log.warning("refused many times", who=each.line.who, address=each.line.address, count=each.count)
        try:
            for each in repeated:
                if each.id is not None:
                    await self._audit.recount(each.id, each.count)
        except AWAY as error:
            log.warning("counts of refusals not stored", why=str(error))

    async def _store_every_minute(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.store_counts()
