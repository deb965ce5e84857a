"""A failure in background work harms the item or the loop in which it happens, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import structlog
from prometheus_client import REGISTRY

from shotwatch_common import background
from shotwatch_common.background import LONGEST_BACK_OFF_S, Items, every, name_of
from shotwatch_shots.errors import Bug, Retry


class Loop:
    """Items on which work fails as configured, and a clock that stands still."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.attempted: list[str] = []
        self.now = 0.0
        self.servers_answer = True
        self.items = Items(self._ask, structlog.get_logger(), lambda: self.now)

    async def _ask(self) -> bool:
        return self.servers_answer

    async def work(self, item: str) -> None:
        self.attempted.append(item)
        if item in self.failures:
            raise self.failures[item]

    async def turn(self, *items: str) -> list[str]:
        """One turn of the loop; the items that were attempted in it."""
        self.attempted = []
        await self.items.each(items, self.work)
        return self.attempted


def value(name: str, work: str) -> float:
    return REGISTRY.get_sample_value(name, {"work": work}) or 0.0


@pytest.mark.parametrize("failure", [Bug("it is broken"), ValueError("so it is"), Retry("its own trouble")])
async def test_an_item_that_fails_is_left_alone_for_a_while_and_the_others_go_on(failure: Exception) -> None:
    loop = Loop()
    loop.failures["b"] = failure
    assert await loop.turn("a", "b", "c") == ["a", "b", "c"]
    assert await loop.turn("a", "b", "c") == ["a", "c"]
    loop.now = 2.0
    assert await loop.turn("a", "b", "c") == ["a", "b", "c"]
    loop.now = 5.9
    assert await loop.turn("b") == []
    loop.now = 6.0
    assert await loop.turn("b") == ["b"]


async def test_an_item_that_succeeds_again_has_no_past() -> None:
    loop = Loop()
    loop.failures["b"] = Bug("broken")
    await loop.turn("b")
    loop.now = 2.0
    loop.failures.clear()
    assert await loop.turn("b") == ["b"]
    assert loop.items.waiting == 0
    assert await loop.turn("b") == ["b"]


async def test_a_failing_item_is_logged_once_and_counted_each_time() -> None:
    loop = Loop()
    name = name_of(loop.work)
    before = value("shotwatch_background_failures_total", name)
    loop.failures["window 7"] = Bug("broken")
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            await loop.turn("window 7")
            loop.now += LONGEST_BACK_OFF_S
    assert value("shotwatch_background_failures_total", name) - before == 5
    assert value("shotwatch_background_waiting", name) == 1
    assert [(log["log_level"], log["item"]) for log in logs] == [("error", "window 7")]


async def test_a_server_that_is_away_is_nobodys_failure() -> None:
    loop = Loop()
    loop.failures["a"] = Retry("the broker does not answer")
    loop.servers_answer = False
    with pytest.raises(Retry):
        await loop.turn("a", "b")
    loop.servers_answer, loop.failures = True, {}
    assert await loop.turn("a", "b") == ["a", "b"]


async def test_the_pause_has_an_end_however_often_an_item_fails() -> None:
    loop = Loop()
    loop.failures["a"] = Bug("broken")
    for _ in range(100):
        assert await loop.turn("a") == ["a"]
        loop.now += LONGEST_BACK_OFF_S


async def test_what_is_remembered_of_failed_items_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_FAILED", 10)
    loop = Loop()
    items = [str(n) for n in range(15)]
    loop.failures = {item: Bug("broken") for item in items}
    await loop.turn(*items)
    assert loop.items.waiting == 10
    assert await loop.turn(*items) == items[10:]
    loop.now = 2 * LONGEST_BACK_OFF_S
    await loop.turn()
    assert loop.items.waiting == 0


async def until_done(work: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until its work cancels it."""
    with pytest.raises(asyncio.CancelledError):
        await every(0.0, work, structlog.get_logger())


async def test_work_that_fails_as_a_whole_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "back_off_s", lambda _failures: 0.0)
    outcomes = iter([Bug("broken"), Retry("away"), ValueError("broken"), None, asyncio.CancelledError()])

    async def poll() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    with structlog.testing.capture_logs() as logs:
        await until_done(poll)
    assert [log["log_level"] for log in logs] == ["error", "warning"]
    assert value("shotwatch_background_failures_total", name_of(poll)) == 2
    assert value("shotwatch_background_waiting", name_of(poll)) == 0


def test_partial_functions_have_the_name_of_their_function() -> None:
    assert name_of(partial(Loop.work, Loop())) == "Loop.work"
