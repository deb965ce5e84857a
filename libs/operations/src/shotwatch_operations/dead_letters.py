"""Dead letters: an operator lists, requeues or discards messages, and each change is audited."""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from shotwatch_common.archive import Archive
from shotwatch_common.subjects import subject_of
from shotwatch_common.topology import STAGES, Topology
from shotwatch_operations.broker.dead_letter_queue import DeadLetter, HeldMessage, hold_dead_letters

Done = Callable[[DeadLetter], None]


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """A filter for dead-lettered messages; a default value matches every message."""

    stage: str | None = None
    reason: str = ""
    """A part of the reason, case-insensitive."""
    since: int = 0
    """Dead-lettered at this time or later, epoch ms."""
    ids: Collection[str] = ()

    def fits(self, message: DeadLetter) -> bool:
        return (
            self.reason.casefold() in message.reason.casefold()
            and message.dead_lettered_at >= self.since
            and (not self.ids or message.id in self.ids)
        )


class DeadLetters:
    """The dead-lettered messages of all stages.

    Every change is audited and recorded in the object's history.
    """

    def __init__(self, connection: AbstractConnection, archive: Archive, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._archive = archive

    async def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Return the matching messages, by stage and age. They stay in their queues."""
        return [held.message async for held in self._hold(wanted)]

    async def reinject(self, wanted: DeadLetterFilter, done: Done) -> None:
        """Requeue the matching messages to their stages as if they were new; call `done` with each.

        A crash in between leaves each message in the dead-letter queue, in the stage's queue, or in both.
        Handlers accept messages that are delivered twice.
        """
        async for held in self._hold(wanted):
            await self._archive.audit.note("reinject", _which(held.message))
            about, why = subject_of(held.message.body), _why("reinjected", held.message)
            for obj in about.objects:
                await self._archive.ledger.revive(obj.object_id, held.message.stage, why)
            for batch_id in about.batches:
                await self._archive.batches.revive(batch_id)
            await held.send_back()
            done(held.message)

    async def purge(self, wanted: DeadLetterFilter, done: Done) -> None:
        """Discard the matching messages and call `done` with each; their objects stay dead-lettered."""
        async for held in self._hold(wanted):
            await self._archive.audit.note("purge", _which(held.message))
            for obj in subject_of(held.message.body).objects:
                why = _why("purged", held.message)
                await self._archive.ledger.note_discarded(obj.object_id, held.message.stage, why)
            await held.discard()
            done(held.message)

    async def _hold(self, wanted: DeadLetterFilter) -> AsyncIterator[HeldMessage]:
        for stage in STAGES if wanted.stage is None else (wanted.stage,):
            async for held in hold_dead_letters(self._connection, stage, self._topology):
                if wanted.fits(held.message):
                    yield held


def _which(message: DeadLetter) -> str:
    """Describe a message by stage, id and subject: `validate/1f0c6a2d9b4e7783c5d1a0ff: LA_A1_11-….h5`."""
    return f"{message.stage}/{message.id}: {subject_of(message.body).names}".removesuffix(": ")


def _why(what: str, message: DeadLetter) -> str:
    return f"{what}; it was dead-lettered: {message.reason}"
