"""What the listeners of the stream of events are told, whatever the database does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect

from shotwatch_common.archive.events import Events
from shotwatch_query.errors import Unavailable
from shotwatch_query.live import MOST_LISTENERS, MOST_WAITING, Live, News, Outage, Reset

PATIENCE_S = 10


class Stored:
    """Stored events, in a database that can go away."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.away = False
        self.readings = 0

    async def last_number(self) -> int:
        self.readings += 1
        if self.away:
            raise AutoReconnect("nobody answers")
        return max(self.numbers, default=0)

    async def numbered(self, after: int, last: int) -> list[dict[str, Any]]:
        if self.away:
            raise AutoReconnect("nobody answers")
        return [{"sequence": n, "stored_at": 0} for n in self.numbers if after < n <= last]


@pytest.fixture
async def stored() -> Stored:
    return Stored()


@pytest.fixture
async def live(stored: Stored) -> AsyncIterator[Live]:
    async with Live.of(cast(Events, stored)) as live:
        await admitted(live)
        yield live


async def admitted(live: Live) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                with live.listener("amelie"):
                    return
            except Unavailable:
                await asyncio.sleep(0)


async def following(told: AsyncIterator[News]) -> int | str | Reset | None:
    async with asyncio.timeout(PATIENCE_S):
        news = await anext(told)
    if isinstance(news, Reset):
        return news
    return news.wrong if isinstance(news, Outage) else news["sequence"]


async def test_what_was_missed_and_what_is_new_comes_once_and_in_order(stored: Stored, live: Live) -> None:
    stored.numbers += range(1, 501)
    with live.listener("amelie") as listener:
        told = live.follow(listener, 490)
        stored.numbers += [502, 503]
        assert [await following(told) for _ in range(12)] == [*range(491, 501), 502, 503]


async def test_an_outage_is_told_and_nothing_is_lost_by_it(stored: Stored, live: Live) -> None:
    with live.listener("amelie") as listener:
        told = live.follow(listener, None)
        stored.away = True
        assert await following(told) == "nobody answers"
        stored.numbers.append(1)
        stored.away = False
        assert [await following(told), await following(told)] == [1, None]


async def test_an_outage_while_the_missed_is_read_delays_it(stored: Stored, live: Live) -> None:
    stored.numbers += range(1, 4)
    with live.listener("amelie") as first:
        assert await following(live.follow(first, 0)) == 1
    with live.listener("amelie") as listener:
        stored.away = True
        told = live.follow(listener, 0)
        assert await following(told) == "nobody answers"
        stored.away = False
        assert {await following(told) for _ in range(4)} >= {1, 2, 3}


async def test_who_falls_behind_is_dropped(stored: Stored, live: Live) -> None:
    with live.listener("amelie") as slow, live.listener("amelie") as quick:
        stored.numbers += range(1, MOST_WAITING + 2)
        assert [each async for each in live.follow(slow, None)] == []
        assert quick.queue.qsize() == 1
        with live.listener("amelie") as back:
            assert await following(live.follow(back, 0)) == 1


async def test_listeners_are_bounded_and_leave_room_when_they_go(live: Live) -> None:
    listeners = [live.listener("amelie") for _ in range(MOST_LISTENERS)]
    for each in listeners:
        each.__enter__()
    with pytest.raises(Unavailable, match="listen already"), live.listener("amelie"):
        pass
    listeners[0].__exit__(None, None, None)
    with live.listener("amelie"):
        pass


async def test_many_listeners_cost_the_database_one_reading_at_a_time(stored: Stored, live: Live) -> None:
    with live.listener("amelie") as first, live.listener("amelie") as second:
        before = stored.readings
        stored.numbers.append(1)
        for listener in (first, second):
            assert await following(live.follow(listener, None)) == 1
        assert stored.readings - before <= 2


async def test_a_service_that_stops_ends_its_streams(live: Live) -> None:
    with live.listener("amelie") as listener:
        told = live.follow(listener, None)
        live.close()
        assert [each async for each in told] == []


async def test_a_number_beyond_the_end_is_reset_to_the_end_and_what_is_new_follows(
    stored: Stored, live: Live
) -> None:
    stored.numbers += [1, 2]
    with live.listener("amelie") as first:
        assert [await following(live.follow(first, n)) for n in (0, 1)] == [1, 2]
    with live.listener("amelie") as listener:
        told = live.follow(listener, 3)
        assert await following(told) == Reset(2)
        stored.numbers.append(3)
        assert await following(told) == 3


async def test_a_number_that_another_replica_has_told_already_is_not_reset(
    stored: Stored, live: Live
) -> None:
    with live.listener("amelie") as listener:
        stored.numbers += [1, 2]
        told = live.follow(listener, 2)
        stored.numbers.append(3)
        assert await following(told) == 3


async def test_who_listens_while_the_database_is_emptied_is_reset_and_hears_of_new_events(
    stored: Stored, live: Live
) -> None:
    stored.numbers += [1, 2, 3]
    with live.listener("amelie") as listener:
        told = live.follow(listener, 0)
        assert [await following(told) for _ in range(3)] == [1, 2, 3]
        stored.numbers.clear()
        assert await following(told) == Reset(0)
        stored.numbers.append(1)
        assert await following(told) == 1


async def test_who_comes_back_beyond_the_end_while_the_database_is_away_comes_again(
    stored: Stored, live: Live
) -> None:
    with live.listener("amelie") as listener:
        stored.away = True
        told = [each async for each in live.follow(listener, 7)]
    assert told == [Outage("nobody answers")]
