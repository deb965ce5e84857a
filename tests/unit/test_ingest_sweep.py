"""The sweep: what it feeds in of what lies in the inbox, and what it leaves to others."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from shotwatch_common.notification import ArrivedObject, parse_notification
from shotwatch_ingest import sweep as module
from shotwatch_ingest.reading import SMALL_BYTES
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
    express: list[str] = field(default_factory=list)
    """Those that were published to the express queue."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Key → size in bytes, if it is not 1."""
    room_for_small: int = 500
    asked: list[str] = field(default_factory=list)
    """Ids about which the ledger was asked."""

    def id_of(self, key: str) -> str:
        return ArrivedObject("inbox", key, "etag", 1, 0).object_id

    async def list(self, _bucket: str) -> AsyncIterator[Any]:
        for key, stored_at in self.lying.items():
            yield SimpleNamespace(key=key, etag="etag", size=self.sizes.get(key, 1), modified_ms=stored_at)

    async def seen(self, ids: Sequence[str]) -> dict[str, LastSeen]:
        self.asked += ids
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

    async def room(self, _stage: str, express: bool = False) -> int:
        return self.room_for_small if express else 500

    async def send(self, _stage: str, body: bytes, express: bool) -> None:
        self.fed += [arrived.key for arrived in parse_notification(body)]
        self.express += [arrived.key for arrived in parse_notification(body) if express]

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


async def test_small_objects_are_fed_in_before_large_ones_into_the_express_queue(inbox: Inbox) -> None:
    names = [f"{n}-large" for n in range(3)] + ["4-small", "5-small"]
    inbox.lying = dict.fromkeys(names, NOW - SECOND)
    inbox.sizes = {name: SMALL_BYTES + 1 if "large" in name else SMALL_BYTES for name in names}
    await sweep_of(inbox).poll()
    assert inbox.fed == ["4-small", "5-small", "0-large", "1-large", "2-large"]
    assert inbox.express == ["4-small", "5-small"]


async def test_a_sweep_feeds_in_few_large_objects_and_the_next_ones_the_rest(inbox: Inbox) -> None:
    names = [f"{n:02d}" for n in range(50)]
    inbox.lying = dict.fromkeys(names, NOW - SECOND)
    inbox.sizes = dict.fromkeys(names, SMALL_BYTES + 1)
    sweep, counts = sweep_of(inbox), []
    for _ in range(4):
        await sweep.poll()
        counts.append(len(inbox.fed))
    assert counts == [20, 40, 50, 50]
    assert sorted(inbox.fed) == names


async def test_small_objects_for_which_the_queue_has_no_room_keep_no_large_one_waiting(inbox: Inbox) -> None:
    inbox.lying = dict.fromkeys(["a-small", "b-small", "large"], NOW - SECOND)
    inbox.sizes = {"large": SMALL_BYTES + 1}
    inbox.room_for_small = 1
    await sweep_of(inbox).poll()
    assert inbox.fed == ["a-small", "large"]


async def test_the_ledger_is_asked_once_in_five_seconds_about_an_object_that_is_processed(
    inbox: Inbox,
) -> None:
    sweep = sweep_of(inbox, inbox_again_seconds=120)
    inbox.lying = {"file": NOW}
    for _ in range(8):
        await sweep.poll()
        inbox.now += SECOND
    assert inbox.fed == ["file"]
    assert inbox.asked == [inbox.id_of("file")] * 3, "unknown at 0 s, processed at 1 s, again at 6 s"


async def test_an_object_that_is_stored_again_is_not_taken_for_the_one_that_is_processed(
    inbox: Inbox,
) -> None:
    sweep = sweep_of(inbox, inbox_again_seconds=120)
    inbox.lying = {"file": NOW}
    await sweep.poll()
    await sweep.poll()
    inbox.now += SECOND
    inbox.known[inbox.id_of("file")] = LastSeen(NOW, ObjectState.DEAD_LETTERED, NOW)
    inbox.lying = {"file": inbox.now}
    await sweep.poll()
    assert inbox.fed == ["file", "file"]


async def test_a_dead_lettered_object_that_is_reset_is_fed_in_at_once(inbox: Inbox) -> None:
    sweep = sweep_of(inbox, inbox_again_seconds=120)
    inbox.known[inbox.id_of("file")] = LastSeen(NOW, ObjectState.DEAD_LETTERED, NOW)
    inbox.lying = {"file": NOW - SECOND}
    await sweep.poll()
    assert inbox.fed == []
    inbox.known[inbox.id_of("file")] = LastSeen(0, ObjectState.WAITING, NOW)
    await sweep.poll()
    assert inbox.fed == ["file"]
