"""The sources from which the routes read, and in which feedback is stored."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from shotwatch_common.archive import Archive
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.past_frames import FrameReader
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_query.access import Access
from shotwatch_query.access.refusals import Refusals
from shotwatch_query.blocks import BlockReader
from shotwatch_query.limits import Limits
from shotwatch_query.live import Live
from shotwatch_query.overview import Overview
from shotwatch_query.settings import QuerySettings
from shotwatch_query.shot_tables import ShotTables
from shotwatch_shots.facility import Facility
from shotwatch_shots.pulses import WINDOW_MS


@dataclass(frozen=True, slots=True)
class ApiSources:
    """All servers and files behind the REST API."""

    settings: QuerySettings
    facility: Facility
    archive: Archive
    store: ObjectStore
    blocks: BlockReader
    frames: FrameReader
    registry: ModelRegistry
    access: Access
    live: Live
    overview: Overview
    limits: Limits
    refusals: Refusals
    tables: ShotTables
    feedback_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from counting an incident's statements to adding one: a replica does not exceed the limit.

    Each further replica that adds one at the same moment may exceed it by one.
    """
    searches_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from counting a caller's saved searches to saving one, with the same effect."""
    exporting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a process writes a file for other tools: it may take as much memory as all other answers."""
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from counting verdicts to writing the count, so that no older count overwrites a newer one."""

    async def end_of_data(self) -> int:
        """Return the end of the data, in epoch ms, with a margin for pulses slightly after their records."""
        return (await self.archive.devices.newest(latest_record_ms(self.facility)) or 0) + WINDOW_MS


def _sources(request: Request) -> ApiSources:
    sources: ApiSources = request.app.state.sources
    return sources


From = Annotated[ApiSources, Depends(_sources)]
"""The parameter by which a route receives its sources."""
