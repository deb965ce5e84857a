"""What the routes read from, and keep feedback in."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from shotwatch_common.archive import Archive
from shotwatch_common.facility import Facility
from shotwatch_common.past_frames import FrameReader
from shotwatch_common.pulses import WINDOW_MS
from shotwatch_common.store import ObjectStore
from shotwatch_query.blocks import BlockReader
from shotwatch_query.registry import Registry
from shotwatch_query.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything behind the REST API."""

    settings: QuerySettings
    facility: Facility
    archive: Archive
    store: ObjectStore
    blocks: BlockReader
    frames: FrameReader
    registry: Registry

    async def end_of_data(self) -> int:
        """Epoch ms. A pulse may lie a little after its records."""
        return (await self.archive.devices.newest() or 0) + WINDOW_MS


def _sources(request: Request) -> Sources:
    sources: Sources = request.app.state.sources
    return sources


From = Annotated[Sources, Depends(_sources)]
"""The parameter of a route by which it gets its sources."""
