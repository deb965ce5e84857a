"""Does the ledger add up, and does it know what lies in the buckets?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shotwatch_common.archive import Archive
from shotwatch_common.identity import object_id
from shotwatch_common.settings import Settings
from shotwatch_common.store import ObjectStore, StoredObject


@dataclass(frozen=True, slots=True)
class Balance:
    """How the objects that arrived in a span of time ended, beside what lies in the buckets now."""

    objects: int
    bytes: int
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    shots: int
    """Closed from these objects; one that was closed again counts again."""
    shot_states: Mapping[str, int]
    in_inbox: int
    in_errors: int
    """Rejected objects, of any time."""
    unknown: tuple[str, ...]
    """Keys in the inbox of which the ledger knows nothing."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not add up; empty when all does."""
        counted = sum(self.states.values())
        found = []
        if counted != self.objects:
            found.append(f"{self.objects} objects came in, but {counted} are in a known state")
        if self.unknown:
            found.append(f"{len(self.unknown)} in the inbox are unknown to the ledger: {_some(self.unknown)}")
        return tuple(found)

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "adds_up": not self.problems, "problems": self.problems}


async def take_balance(
    archive: Archive, store: ObjectStore, settings: Settings, start: int, end: int
) -> Balance:
    """Balance the objects that arrived in [start, end) (epoch ms).

    Raises:
        Retry: the store cannot be reached.
    """
    inbox = [found async for found in store.list(settings.inbox_bucket) if start <= found.modified_ms < end]
    rejected = [found async for found in store.list(settings.error_bucket) if not _is_note(found)]
    unknown = await _unknown(archive, settings.inbox_bucket, inbox)
    objects = await archive.ledger.balance(start, end)
    shots = await archive.batches.balance(start, end)
    return Balance(
        objects["in"],
        objects["bytes"],
        objects["states"],
        objects["reasons"],
        shots["in"],
        shots["states"],
        len(inbox),
        len(rejected),
        unknown,
    )


def _is_note(found: StoredObject) -> bool:
    """Beside every rejected object lies a note with its reason."""
    return found.key.endswith(".reason.json")


async def _unknown(archive: Archive, bucket: str, found: list[StoredObject]) -> tuple[str, ...]:
    keys = {object_id(bucket, each.key, each.etag): each.key for each in found}
    known = await archive.ledger.known(list(keys))
    return tuple(key for identity, key in keys.items() if identity not in known)


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
