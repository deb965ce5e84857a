"""What the listeners of the stream of events receive, whatever the database does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from pymongo.errors import AutoReconnect

from shotwatch_common.archive.events import Events, NumberedEvent
from shotwatch_operations.api_keys import make_key
from shotwatch_query import live as live_module
from shotwatch_query.access import Access
from shotwatch_query.access.key_ring import KeyRing
from shotwatch_query.errors import Forbidden, NotAdmitted, Unavailable
from shotwatch_query.live import FAULT, MOST_LISTENERS, MOST_WAITING, Live, News, Outage, Reset, Revoked
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.vocabulary import Scope
from tests.unit.api import client, sources

TIMEOUT_S = 10


async def valid() -> None:
    """The check of a listener whose key stays valid."""


NO_EVENT = cast(AnomalyEvent, None)
"""Listeners only pass events on."""


class Stored:
    """Stored events, in a database that can go away."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.away = False
        self.broken = False
        self.readings = 0

    async def last_number(self) -> int:
        self.readings += 1
        if self.away:
            raise AutoReconnect("nobody answers")
        if self.broken:
            raise ValueError("x")
        return max(self.numbers, default=0)

    async def numbered(self, after: int, last: int) -> list[NumberedEvent]:
        if self.away:
            raise AutoReconnect("nobody answers")
        return [NumberedEvent(n, 0, NO_EVENT) for n in self.numbers if after < n <= last]


@pytest.fixture
async def stored() -> Stored:
    return Stored()


@pytest.fixture
async def live(stored: Stored) -> AsyncIterator[Live]:
    async with Live.of(cast(Events, stored)) as live:
        await admitted(live)
        yield live


async def admitted(live: Live) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                with live.listener("amelie", valid):
                    return
            except Unavailable:
                await asyncio.sleep(0)


async def following(reported: AsyncIterator[News]) -> int | str | Reset | Revoked | None:
    async with asyncio.timeout(TIMEOUT_S):
        news = await anext(reported)
    if isinstance(news, Reset | Revoked):
        return news
    return news.wrong if isinstance(news, Outage) else news.sequence


async def test_what_was_missed_and_what_is_new_comes_once_and_in_order(stored: Stored, live: Live) -> None:
    stored.numbers += range(1, 501)
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, 490)
        stored.numbers += [502, 503]
        assert [await following(reported) for _ in range(12)] == [*range(491, 501), 502, 503]


async def test_an_outage_is_reported_and_nothing_is_lost_by_it(stored: Stored, live: Live) -> None:
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, None)
        stored.away = True
        assert await following(reported) == "nobody answers"
        stored.numbers.append(1)
        stored.away = False
        assert [await following(reported), await following(reported)] == [1, None]


async def test_a_fault_is_reported_as_an_outage_and_ends_nothing(stored: Stored, live: Live) -> None:
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, None)
        stored.broken = True
        assert await following(reported) == FAULT
        stored.numbers.append(1)
        stored.broken = False
        assert [await following(reported), await following(reported)] == [1, None]


async def test_an_outage_while_the_missed_is_read_delays_it(stored: Stored, live: Live) -> None:
    stored.numbers += range(1, 4)
    with live.listener("amelie", valid) as first:
        assert await following(live.follow(first, 0)) == 1
    with live.listener("amelie", valid) as listener:
        stored.away = True
        reported = live.follow(listener, 0)
        assert await following(reported) == "nobody answers"
        stored.away = False
        assert {await following(reported) for _ in range(4)} >= {1, 2, 3}


async def test_who_falls_behind_is_dropped(stored: Stored, live: Live) -> None:
    with live.listener("amelie", valid) as slow, live.listener("amelie", valid) as quick:
        stored.numbers += range(1, MOST_WAITING + 2)
        assert [each async for each in live.follow(slow, None)] == []
        assert quick.queue.qsize() == 1
        with live.listener("amelie", valid) as back:
            assert await following(live.follow(back, 0)) == 1


async def test_listeners_are_bounded_and_leave_room_when_they_go(live: Live) -> None:
    listeners = [live.listener("amelie", valid) for _ in range(MOST_LISTENERS)]
    for each in listeners:
        each.__enter__()
    with pytest.raises(Unavailable, match="are open already"), live.listener("amelie", valid):
        pass
    listeners[0].__exit__(None, None, None)
    with live.listener("amelie", valid):
        pass


async def test_many_listeners_cost_the_database_one_reading_at_a_time(stored: Stored, live: Live) -> None:
    with live.listener("amelie", valid) as first, live.listener("amelie", valid) as second:
        before = stored.readings
        stored.numbers.append(1)
        for listener in (first, second):
            assert await following(live.follow(listener, None)) == 1
        assert stored.readings - before <= 2


async def test_a_service_that_stops_ends_its_streams(live: Live) -> None:
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, None)
        live.close()
        assert [each async for each in reported] == []


async def test_a_number_beyond_the_end_is_reset_to_the_end_and_what_is_new_follows(
    stored: Stored, live: Live
) -> None:
    stored.numbers += [1, 2]
    with live.listener("amelie", valid) as first:
        assert [await following(live.follow(first, n)) for n in (0, 1)] == [1, 2]
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, 3)
        assert await following(reported) == Reset(2)
        stored.numbers.append(3)
        assert await following(reported) == 3


async def test_a_number_that_another_replica_has_reported_already_is_not_reset(
    stored: Stored, live: Live
) -> None:
    with live.listener("amelie", valid) as listener:
        stored.numbers += [1, 2]
        reported = live.follow(listener, 2)
        stored.numbers.append(3)
        assert await following(reported) == 3


async def test_who_listens_while_the_database_is_emptied_is_reset_and_receives_new_events(
    stored: Stored, live: Live
) -> None:
    stored.numbers += [1, 2, 3]
    with live.listener("amelie", valid) as listener:
        reported = live.follow(listener, 0)
        assert [await following(reported) for _ in range(3)] == [1, 2, 3]
        stored.numbers.clear()
        assert await following(reported) == Reset(0)
        stored.numbers.append(1)
        assert await following(reported) == 1


async def test_who_comes_back_beyond_the_end_while_the_database_is_away_comes_again(
    stored: Stored, live: Live
) -> None:
    with live.listener("amelie", valid) as listener:
        stored.away = True
        reported = [each async for each in live.follow(listener, 7)]
    assert reported == [Outage("nobody answers")]


@pytest.fixture
async def checking(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    """Checks the keys of its listeners all the time."""
    monkeypatch.setattr(live_module, "CHECK_S", 0.01)
    async with Live.of(cast(Events, stored)) as live:
        await admitted(live)
        yield live


class Key:
    """A key that may be revoked; `checks` has an entry for each time that it was checked."""

    def __init__(self) -> None:
        self.wrong: Exception | None = None
        self.checks: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self) -> None:
        self.checks.put_nowait(None)
        if self.wrong is not None:
            raise self.wrong

    async def checked(self, times: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(times):
                await self.checks.get()


@pytest.mark.parametrize("wrong", [NotAdmitted("revoked"), Forbidden("revoked", Scope.READ)])
async def test_whose_key_was_revoked_is_notified_last_and_others_go_on(
    stored: Stored, checking: Live, wrong: Exception
) -> None:
    key = Key()
    with checking.listener("amelie", key) as revoked, checking.listener("boris", valid) as other:
        reported = checking.follow(revoked, None)
        stored.numbers.append(1)
        assert await following(reported) == 1
        key.wrong = wrong
        assert await following(reported) == Revoked("revoked")
        assert [each async for each in reported] == []
        assert await following(checking.follow(other, None)) == 1


async def test_whose_key_was_revoked_reads_no_more_of_what_was_missed(
    stored: Stored, checking: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SLICE", 2)
    stored.numbers += range(1, 101)
    with checking.listener("amelie", valid) as first:
        assert await following(checking.follow(first, 99)) == 100
    key = Key()
    with checking.listener("amelie", key) as listener:
        reported = checking.follow(listener, 0)
        assert await following(reported) == 1
        key.wrong = NotAdmitted("revoked")
        async with asyncio.timeout(TIMEOUT_S):
            while not listener.ended:
                await asyncio.sleep(0.01)
        assert [each async for each in reported][1:] == [Revoked("revoked")]


async def test_a_stream_goes_on_while_nobody_can_find_out_whether_its_token_is_valid(
    stored: Stored, checking: Live
) -> None:
    token = Key()
    token.wrong = Unavailable("the issuer does not answer")
    with checking.listener("amelie", token) as listener:
        await token.checked(3)
        stored.numbers.append(1)
        assert await following(checking.follow(listener, None)) == 1


async def test_a_key_that_is_struck_out_of_its_file_ends_the_stream_that_it_opened(
    checking: Live, tmp_path: Path
) -> None:
    secret, key = make_key("amelie", frozenset({Scope.READ}), None)
    keys = tmp_path / "keys"
    keys.write_text(f"{key.line()}\n")
    behind = sources(live=checking, access=Access(KeyRing(keys)))
    async with client(behind, headers={"Authorization": f"Bearer {secret}"}) as api:
        listening = asyncio.create_task(api.get("/api/v1/events/stream"))
        async with asyncio.timeout(TIMEOUT_S):
            while not checking._listeners:
                await asyncio.sleep(0.01)
            keys.write_text("")
            answer = await listening
        assert (await api.get("/api/v1/events/stream")).status_code == 401
    last = answer.text.strip().split("\n\n")[-1]
    assert last.splitlines() == [
        "event: revoked",
        'data: {"wrong": "this key is unknown, revoked or expired"}',
    ]
