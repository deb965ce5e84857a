"""The levels of the statistics of each series, changed by compare-and-set."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from pydantic import TypeAdapter

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import needed, number, text, texts
from shotwatch_common.archive.versioned import save_version
from shotwatch_shots.levels import LevelShift, SeriesLevels

_NAME = "levels"
_shift = TypeAdapter(LevelShift)
Follow = Callable[[SeriesLevels], SeriesLevels | None]
"""The levels before some shots → those after them; None if they stay as they are."""


class LevelCollection:
    """Collection `levels`: `_id` is place and interval; `version` counts changes.

    Delivery: the shifts that shots show are written with the levels after them, by one compare-and-set. Shots
    that were entered are not entered again. So a batch that is delivered again finds its shifts stored, and a
    crash at any step leaves the same result.
    """

    def __init__(self, database: Database) -> None:
        self._levels = database[_NAME]

    async def enter(self, series: str, follow: Follow) -> SeriesLevels:
        """Add shots to the levels of a series, and return the levels after them.

        `follow` is called in a thread, again each time that another process changed the levels meanwhile.

        Raises:
            Retry: the document is malformed; an administrator must mend or remove it.
        """
        while True:
            stored = await self.load(series)
            after = await asyncio.to_thread(follow, stored)
            if after is None:
                return stored
            if await self.save(after):
                return after

    async def load(self, series: str) -> SeriesLevels:
        """Return the levels of a series; version 0 if nothing is stored yet.

        Raises:
            Retry: the document is malformed; an administrator must mend or remove it.
        """
        document = await self._levels.find_one({"_id": series})
        return needed(document, _decoded, _NAME) or SeriesLevels(series)

    async def save(self, levels: SeriesLevels) -> bool:
        """Write version n over version n - 1, or the first version.

        Return False if another process has changed the document since it was read.
        """
        return await save_version(self._levels, _encoded(levels))


def _encoded(stored: SeriesLevels) -> Document:
    return {
        "_id": stored.series,
        "version": stored.version,
        "until": stored.until,
        "devices": [device for device, _ in stored.states],
        "features": [feature for _, feature in stored.states],
        "states": list(stored.states.values()),
        "shifts": [asdict(shift) for shift in stored.shifts],
    }


def _decoded(document: Document) -> SeriesLevels:
    names = zip(texts(document["devices"]), texts(document["features"]), strict=True)
    return SeriesLevels(
        text(document["_id"]),
        number(document["version"]),
        number(document["until"]),
        {name: bytes(memoryview(state)) for name, state in zip(names, document["states"], strict=True)},
        tuple(_shift.validate_python(shift) for shift in document["shifts"]),
    )
