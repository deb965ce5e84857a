"""What the comparisons of reconciliation need: the servers, and how long things may be in progress."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.settings import Settings
from shotwatch_common.store import ObjectStore
from shotwatch_shots.facility import Facility

PAGE = 1000
"""Number of objects per page of a listing; S3 lists no more at a time."""
_REQUESTS_AT_ONCE = 8

T = TypeVar("T")


class Queues(Protocol):
    """The broker's queues."""

    async def under_way(self, *stages: str) -> bool:
        """Return whether messages of these stages wait for a handler.

        Raises:
            Retry: the broker does not answer.
        """


@dataclass(frozen=True, slots=True)
class Allowances:
    """Durations for which things may be in progress before they count as imbalances (ms)."""

    settling: int = 600_000
    """Longer than any service keeps a message."""
    sweeping: int = 60_000
    """Within this time the sweep finds what is in the inbox."""


@dataclass(frozen=True, slots=True)
class ReconciliationContext:
    """The servers whose contents are compared."""

    archive: Archive
    store: ObjectStore
    facility: Facility
    settings: Settings
    queues: Queues
    allowances: Allowances
    requests: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_REQUESTS_AT_ONCE))
    """Limits the concurrent requests to the store."""

    @property
    def settled_before(self) -> int:
        """The time before which nothing is in progress any more, epoch ms."""
        return epoch_now() - self.allowances.settling

    @property
    def settled_buckets(self) -> tuple[str, str]:
        """The buckets that objects do not leave: data and errors."""
        return self.settings.data_bucket, self.settings.error_bucket


def parts(items: Sequence[T], length: int) -> Iterable[Sequence[T]]:
    """Return the items in parts of this length; the last may be shorter."""
    return (items[n : n + length] for n in range(0, len(items), length))
