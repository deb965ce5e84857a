"""The sweep: what it feeds in of what lies in the inbox, and what it leaves to others."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from shotwatch_common.notification import ArrivedObject, parse_notification
from shotwatch_ingest import sweep as module
from shotwatch_ingest.settings import IngestSettings
from shotwatch_ingest.sweep import Sweep
from shotwatch_shots.ledger import LastSeen
from shotwatch_shots.vocabulary import ObjectState

NOW = 1_656_660_780_000
SECOND = 1000


@dataclass
class Inbox:
    """A store, a ledger and a broker that hold what a sweep reads and writes; the time is `now`."""

    now: int = NOW
    lying: dict[str, int] = field(default_factory=dict)
    """Key → when it was stored, epoch ms."""
    known: dict[str, LastSeen] = field(default_factory=dict)
    fed: list[str] = field(default_factory=list)
    """Keys, in the order in which they were published to ingest."""

    def id_of(self, key: str) -> str:
        return ArrivedObject("inbox", key, "etag", 1, 0).object_id

    async def list(self, _bucket: str) -> AsyncIterator[Any]:
        for key, stored_at in self.lying.items():
            yield SimpleNamespace(key=key, etag="etag", size=1, modified_ms=stored_at)

    async def seen(self, ids: Sequence[str]) -> dict[str, LastSeen]:
        return {each: self.known[each] for each in ids if each in self.known}

    async def enter_unseen(self, ref: Any, _stage: str, seen_at: int) -> bool:
        if ref.object_id in self.known:
            return False
        self.known[ref.object_id] = LastSeen(seen_at, ObjectState.WAITING, self.now)
        return True

    async def claim(self, object_id: str, before: LastSeen, seen_at: int) -> bool:
        self._seen_at(object_id, seen_at)
        return before is not None

    async def see(self, ids: Sequence[str]) -> None:
        for each in ids:
            self._seen_at(each, self.now)

    def _seen_at(self, object_id: str, at: int) -> None:
        known = self.known[object_id]
        self.known[object_id] = LastSeen(at, known.state, known.since)

    async def room(self, _stage: str) -> int:
        return 500

    async def send(self, _stage: str, body: bytes) -> None:
        self.fed += [arrived.key for arrived in parse_notification(body)]

    async def servers_answer(self) -> bool:
        return True


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    inbox = Inbox()
    monkeypatch.setattr(module, "epoch_now", lambda: inbox.now)
    return inbox


def sweep_of(inbox: Inbox, **settings: float) -> Sweep:
    context: Any = SimpleNamespace(
        bus=inbox,
        store=inbox,
        archive=SimpleNamespace(ledger=inbox),
        settings=IngestSettings.model_construct(inbox_bucket="inbox", **settings),
        servers_answer=inbox.servers_answer,
        log=structlog.get_logger(),
    )
    return Sweep(context)


async def test_where_the_store_notifies_the_sweep_feeds_in_only_what_no_notification_reported(
    inbox: Inbox,
) -> None:
    sweep = sweep_of(inbox, inbox_notification_seconds=30)
    inbox.lying = {"young": NOW - 29 * SECOND, "old": NOW - 30 * SECOND}
    await sweep.poll()
    assert inbox.fed == ["old"]
    inbox.now += SECOND
    await sweep.poll()
    assert inbox.fed == ["old", "young"]


async def test_where_the_store_does_not_notify_an_object_is_fed_in_at_once(inbox: Inbox) -> None:
    inbox.lying = {"new": NOW}
    await sweep_of(inbox).poll()
    assert inbox.fed == ["new"]


async def test_a_store_whose_clock_is_ahead_delays_nothing(inbox: Inbox) -> None:
    inbox.lying = {"of tomorrow": NOW + 86_400 * SECOND}
    await sweep_of(inbox, inbox_notification_seconds=30).poll()
    assert inbox.fed == ["of tomorrow"]


async def test_a_dead_lettered_object_is_fed_in_once_when_it_was_stored_again(inbox: Inbox) -> None:
    sweep = sweep_of(inbox, inbox_again_seconds=120)
    dead_since = NOW - 600 * SECOND
    inbox.known[inbox.id_of("file")] = LastSeen(dead_since - SECOND, ObjectState.DEAD_LETTERED, dead_since)
    inbox.lying = {"file": dead_since - 2 * SECOND}
    await sweep.poll()
    assert inbox.fed == [], "a person has to decide about it"
    inbox.lying = {"file": NOW - SECOND}
    for _ in range(3):
        await sweep.poll()
        inbox.now += SECOND
    assert inbox.fed == ["file"]
    inbox.now += 120 * SECOND
    await sweep.poll()
    assert inbox.fed == ["file", "file"], "the first message was lost"
