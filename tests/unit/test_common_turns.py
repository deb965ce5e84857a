"""Turns at the cores: what runs beside what, and in which order."""

import asyncio
import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from threading import Event, Lock

import pytest

from shotwatch_common import turns as module
from shotwatch_common.turns import NICENESS, Turns, Urgency, usable_cores

SMALL, LARGE, IDLE = Urgency.SMALL, Urgency.LARGE, Urgency.IDLE


class Work:
    """Computations that begin, and last until they are released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._lock = Lock()
        self._released: dict[str, Event] = {}

    def named(self, name: str) -> Callable[[], str]:
        released = self._released[name] = Event()

        def compute() -> str:
            with self._lock:
                self.begun.append(name)
            assert released.wait(60)
            return name

        return compute

    def release(self, name: str) -> None:
        self._released[name].set()

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.begun) < count:
                await asyncio.sleep(0.001)


async def start(turns: Turns, work: Work, urgency: Urgency, name: str) -> asyncio.Task[str]:
    """Let a computation ask for its turn."""
    task = asyncio.create_task(turns.compute(urgency, work.named(name)))
    await asyncio.sleep(0)
    return task


async def test_as_many_large_slices_run_as_there_are_cores_and_small_work_beside_them() -> None:
    turns, work = Turns(2), Work()
    tasks = [await start(turns, work, LARGE, f"large {n}") for n in range(3)]
    await work.until_begun(2)
    tasks.append(await start(turns, work, SMALL, "small"))
    await work.until_begun(3)
    assert set(work.begun) == {"large 0", "large 1", "small"}
    work.release("small")
    assert await tasks[3] == "small"
    assert len(work.begun) == 3, "the third large slice has no core yet"
    work.release("large 1")
    await work.until_begun(4)
    assert work.begun[3] == "large 2"
    for name in ("large 0", "large 2"):
        work.release(name)
    await asyncio.gather(*tasks)


async def test_idle_work_runs_when_no_large_work_waits() -> None:
    turns, work = Turns(1), Work()
    names = ("large 0", "idle", "large 1", "large 2")
    tasks = [await start(turns, work, IDLE if name == "idle" else LARGE, name) for name in names]
    for name in ("large 0", "large 1", "large 2", "idle"):
        work.release(name)
    await asyncio.gather(*tasks)
    assert work.begun == ["large 0", "large 1", "large 2", "idle"]


async def test_large_and_idle_work_yield_the_cores_and_small_work_does_not() -> None:
    turns = Turns(1)
    ours = os.getpriority(os.PRIO_PROCESS, os.getpid())
    found = {each: await turns.compute(each, os.getpriority, os.PRIO_PROCESS, 0) for each in Urgency}
    assert found[SMALL] == ours
    assert found[LARGE] == found[IDLE] == min(ours + NICENESS, 19)


async def test_a_computation_sees_the_context_of_its_caller() -> None:
    """Its span, above all."""
    variable = ContextVar[str]("variable")
    variable.set("the caller's")
    assert [await Turns(1).compute(each, variable.get) for each in Urgency] == ["the caller's"] * 3


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "when it has just been given"])
async def test_a_turn_whose_work_is_cancelled_goes_to_the_next(given: bool) -> None:
    turns, work = Turns(1), Work()
    first = await start(turns, work, LARGE, "first")
    cancelled = await start(turns, work, LARGE, "cancelled")
    last = await start(turns, work, LARGE, "last")
    if given:
        turns._pass_on()
    cancelled.cancel()
    for name in ("first", "last"):
        work.release(name)
    assert await asyncio.gather(first, last) == ["first", "last"]
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert "cancelled" not in work.begun


async def test_after_a_failure_the_core_is_free_again() -> None:
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError):
        await turns.compute(LARGE, lambda: 1 // 0)
    assert await turns.compute(LARGE, lambda: 1) == 1


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), (None, 8)]
)
def test_usable_cores_are_those_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(f"{quota}\n")
    monkeypatch.setattr(module, "_QUOTA", path)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores
