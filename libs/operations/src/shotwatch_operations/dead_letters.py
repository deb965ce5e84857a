"""Dead letters: parked messages that a person looks through, sends back or throws away, on record."""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from shotwatch_common.archive import Archive
from shotwatch_common.subjects import subject_of
from shotwatch_common.topology import STAGES, Topology
from shotwatch_operations.broker.parked import HeldMessage, ParkedMessage, hold_parked

Done = Callable[[ParkedMessage], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parked messages are meant; what is left out leaves nothing out."""

    stage: str | None = None
    reason: str = ""
    """A part of the reason, in either case."""
    since: int = 0
    """Parked at this time or later, epoch ms."""
    ids: Collection[str] = ()

    def fits(self, message: ParkedMessage) -> bool:
        return (
            self.reason.casefold() in message.reason.casefold()
            and message.parked_at >= self.since
            and (not self.ids or message.id in self.ids)
        )


class DeadLetters:
    """The parked messages of all stages. Every change is audited, and is in the history of its object."""

    def __init__(self, connection: AbstractConnection, archive: Archive, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._archive = archive

    async def find(self, wanted: Wanted) -> list[ParkedMessage]:
        """The messages that are wanted, by stage and age. They stay where they are."""
        return [held.message async for held in self._hold(wanted)]

    async def reinject(self, wanted: Wanted, done: Done) -> None:
        """Send messages back to their stages, to be tried as if for the first time; `done` hears of each.

        Dying on the way leaves each message parked or at work, or both: handlers bear to see it twice.
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

    async def purge(self, wanted: Wanted, done: Done) -> None:
        """Throw messages away; their objects stay dead-lettered. `done` hears of each."""
        async for held in self._hold(wanted):
            await self._archive.audit.note("purge", _which(held.message))
            for obj in subject_of(held.message.body).objects:
                why = _why("purged", held.message)
                await self._archive.ledger.bury(obj.object_id, held.message.stage, why)
            await held.discard()
            done(held.message)

    async def _hold(self, wanted: Wanted) -> AsyncIterator[HeldMessage]:
        for stage in STAGES if wanted.stage is None else (wanted.stage,):
            async for held in hold_parked(self._connection, stage, self._topology):
                if wanted.fits(held.message):
                    yield held


def _which(message: ParkedMessage) -> str:
    """`validate/1f0c6a2d9b4e7783c5d1a0ff: LA_A1_11-….h5`: stage, id, and what the message is about."""
    return f"{message.stage}/{message.id}: {subject_of(message.body).names}".removesuffix(": ")


def _why(what: str, message: ParkedMessage) -> str:
    return f"{what}; it was parked: {message.reason}"
