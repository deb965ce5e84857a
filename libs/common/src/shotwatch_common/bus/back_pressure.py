"""Back-pressure: a stage pauses while the queue of the next stage is long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from shotwatch_common import metrics
from shotwatch_common.bus.queues import QueueInspector
from shotwatch_common.telemetry import Log
from shotwatch_common.topology import NEXT
from shotwatch_shots.errors import Retry
from shotwatch_shots.vocabulary import HeldFor


class HeldMessages:
    """The messages that this process keeps unacknowledged while it waits for something."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    @contextmanager
    def hold(self, stage: str, why: HeldFor) -> Iterator[None]:
        """Count the message that the current task handles as held."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with metrics.MESSAGES_HELD.labels(stage, why).track_inprogress():
                yield
        finally:
            self._tasks.discard(task)

    def release(self) -> None:
        """Cancel the tasks of all held messages; the broker redelivers the messages to another process."""
        for task in self._tasks:
            task.cancel()


class BackPressure:
    """Pauses a stage while more than `longest_queue` messages wait for the next stage.

    A paused stage resumes once half of them are gone.
    """

    def __init__(self, queues: QueueInspector, held: HeldMessages, log: Log, longest_queue: int) -> None:
        self._queues = queues
        self._held = held
        self._log = log
        self._longest_queue = longest_queue
        self._gates: dict[str, asyncio.Event] = {}

    def add(self, stage: str) -> None:
        """Watch the queue of the stage after this one, if there is one."""
        for why in HeldFor:
            metrics.MESSAGES_HELD.labels(stage, why)
        if stage in NEXT:
            self._gates[stage] = gate = asyncio.Event()
            gate.set()

    async def pass_gate(self, stage: str) -> None:
        """Wait until the stage is not paused; the current task's message counts as held meanwhile."""
        gate = self._gates.get(stage)
        if gate is not None and not gate.is_set():
            with self._held.hold(stage, HeldFor.NEXT_STAGE):
                await gate.wait()

    async def update(self) -> None:
        """Update which stages are paused, by the lengths of the queues; without an answer, change nothing."""
        for stage, gate in self._gates.items():
            try:
                room = await self.room(NEXT[stage])
            except Retry:
                continue
            if room < 0 and gate.is_set():
                self._log.warning("paused", stage=stage, why=f"the queue of {NEXT[stage]} is long")
                gate.clear()
            elif room >= self._longest_queue / 2:
                gate.set()

    async def room(self, stage: str) -> int:
        """Return how many more messages may wait for a stage; negative if there are already too many.

        Raises:
            Retry: the broker did not answer.
        """
        return self._longest_queue - await self._queues.length(stage)
