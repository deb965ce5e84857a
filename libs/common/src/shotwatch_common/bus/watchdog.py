"""The watchdog: it ends a process that no longer consumes, so that its supervisor restarts it."""

import asyncio
from collections.abc import Mapping, Sequence

from shotwatch_common.bus.errors import ConsumersLost
from shotwatch_common.bus.faststream_gaps import Consumption, all_active
from shotwatch_common.bus.queues import QueueInspector
from shotwatch_shots.errors import Retry

_RECOVERY_S = 15.0
"""Time in which the client library restores most consumers by itself, in seconds."""


class Watchdog:
    """Checks that every stage to which this process has subscribed is still consumed."""

    def __init__(self, queues: QueueInspector, consumptions: Mapping[str, Sequence[Consumption]]) -> None:
        """Keep the consumptions of each stage's queues; stages may be added later."""
        self._queues = queues
        self._consumptions = consumptions
        self._lost: Sequence[str] = ()
        self._lost_since = 0.0

    @property
    def all_consumed(self) -> bool:
        """Whether, at the last check, every stage was consumed or the broker did not answer."""
        return not self._lost

    async def check(self) -> None:
        """Check once.

        Raises:
            ConsumersLost: consumers, or queues of their stages, have been missing for more than 15 s, and the
                broker has answered each time.
        """
        now = asyncio.get_running_loop().time()
        if self.all_consumed:
            self._lost_since = now
        self._lost = await self._missing_stages()
        if self._lost and now - self._lost_since > _RECOVERY_S:
            stages = ", ".join(self._lost)
            raise ConsumersLost(f"nothing is delivered from {stages} any more, although the broker answers")

    async def _missing_stages(self) -> Sequence[str]:
        try:
            return [stage for stage in self._consumptions if not await self._is_consumed(stage)]
        except Retry:
            return ()

    async def _is_consumed(self, stage: str) -> bool:
        """Return whether the broker knows a consumer of each queue, and this process has one.

        Both checks are needed: the broker also counts the consumers of other replicas, and a client may not
        learn that the broker has dropped its consumer.
        """
        return await self._queues.has_consumers(stage) and all_active(self._consumptions[stage])
