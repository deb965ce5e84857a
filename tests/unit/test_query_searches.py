"""One search of a caller runs at a time, and nobody waits for those of another caller."""

import asyncio

import pytest

from shotwatch_query.errors import TooMany
from shotwatch_query.limits.searches import MOST_WAITING_OF_CALLER, Searches


class Running:
    """Searches that run until a test ends them, in the order in which they began."""

    def __init__(self) -> None:
        self._searches = Searches()
        self.order: list[str] = []
        self._ends: list[asyncio.Event] = []

    def start(self, caller: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._search(caller))

    async def end_first(self) -> None:
        self._ends.pop(0).set()
        await settled()

    async def _search(self, caller: str) -> None:
        async with self._searches.turn_of(caller):
            end = asyncio.Event()
            self._ends.append(end)
            self.order.append(caller)
            await end.wait()


async def settled() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_searches_of_a_caller_follow_each_other_and_another_caller_does_not_wait():
    running = Running()
    tasks = [running.start(caller) for caller in ("many", "many", "many", "other")]
    await settled()
    assert running.order == ["many", "other"]
    for _ in tasks:
        await running.end_first()
    await asyncio.gather(*tasks)
    assert running.order == ["many", "other", "many", "many"]


async def test_a_search_that_is_given_up_leaves_its_turn_to_the_next_one():
    running = Running()
    first, second, third = (running.start("many") for _ in range(3))
    await settled()
    second.cancel()
    first.cancel()
    await settled()
    assert running.order == ["many", "many"]
    await running.end_first()
    third.cancel()


async def test_too_many_that_wait_are_refused():
    running = Running()
    tasks = [running.start("many") for _ in range(MOST_WAITING_OF_CALLER + 2)]
    await settled()
    with pytest.raises(TooMany, match="too many searches"):
        tasks[-1].result()
    assert not any(task.done() for task in tasks[:-1])
    other = running.start("other")
    await settled()
    assert running.order == ["many", "other"]
    for task in (*tasks[:-1], other):
        task.cancel()
