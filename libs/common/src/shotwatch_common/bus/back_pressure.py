"""Back-pressure: a stage pauses while the queues of the next stage are long.

Small messages, which come by the express queue, go on while only large ones wait for the next stage.
"""

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
    """Pauses a queue of a stage while more than `longest_queue` messages wait for the next stage.

    For the express queue, only the messages in the next express queue count; for the stage's own, all of
    them. A paused queue resumes once half of them are gone.
    """

    def __init__(self, queues: QueueInspector, held: HeldMessages, log: Log, longest_queue: int) -> None:
        self._queues = queues
        self._held = held
        self._log = log
        self._longest_queue = longest_queue
        self._gates: dict[tuple[str, bool], asyncio.Event] = {}

    def add(self, stage: str) -> None:
        """Watch the queues of the stage after this one, if there is one."""
        for why in HeldFor:
            metrics.MESSAGES_HELD.labels(stage, why)
        if stage in NEXT:
            for express in (False, True):
                self._gates[stage, express] = gate = asyncio.Event()
                gate.set()

    async def pass_gate(self, stage: str, express: bool) -> None:
        """Wait until the queue is not paused; the current task's message counts as held meanwhile."""
        gate = self._gates.get((stage, express))
        if gate is not None and not gate.is_set():
            with self._held.hold(stage, HeldFor.NEXT_STAGE):
                await gate.wait()

    async def update(self) -> None:
        """Update which queues are paused, by the lengths of the next; without an answer, change nothing."""
        for (stage, express), gate in self._gates.items():
            try:
                room = await self.room(NEXT[stage], express)
            except Retry:
                continue
            if room < 0 and gate.is_set():
                why = f"the queue of {NEXT[stage]} is long"
                self._log.warning("paused", stage=stage, express=express, why=why)
                gate.clear()
            elif room >= self._longest_queue / 2:
                gate.set()

    async def room(self, stage: str, express: bool = False) -> int:
        """Return how many more messages may wait for a stage; negative if there are already too many.

        `express`: as above, of messages for the express queue.

        Raises:
            Retry: the broker did not answer.
        """
        return self._longest_queue - await self._queues.length(stage, express)
