"""Turns at the processor: which computation of this process runs next, when there are more than cores.

Large work is cut into slices of at most some 50 ms, and only as many slices run at a time as there are cores.
Small work does not wait for a turn: it runs beside them, and the operating system divides the cores. It
prefers small work, of other processes too, because the threads of slices yield. Large work keeps
a share: a service handles only a few small messages at a time. Idle work runs when no large work waits. It
cannot starve, because its messages keep their places until it is done; large work without a place does not
wait for a turn.

The slices must release Python's global lock for most of their time. NumPy's functions and the compiled ones
do so.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from enum import Enum
from math import ceil
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SLICE = 96
"""Frames or spectra of a slice: some 25 ms of work, and a multiple of what a network takes at once."""
NICENESS = 5
"""Niceness added to work that yields: beside other work, it gets a third of an equal share."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def yield_cores(process: int = 0) -> None:
    """Let a process of this service yield the cores, or a thread (by its native id; 0 is the calling one).

    What many shots wait for yields to what a single shot waits for (ADR 62).
    """
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS)


class Urgency(Enum):
    """The urgency of a computation, the most urgent first."""

    SMALL = "small"
    LARGE = "large"
    IDLE = "idle"


class Turns:
    """The turns at the cores of this process."""

    def __init__(self, cores: int) -> None:
        """Let so many slices of large or idle work run at a time."""
        self._free = cores
        self._yielding = ThreadPoolExecutor(cores, "turn", initializer=yield_cores)
        self._waiting: dict[Urgency, deque[asyncio.Future[None]]] = {
            Urgency.LARGE: deque(),
            Urgency.IDLE: deque(),
        }

    async def compute(self, urgency: Urgency, function: Callable[..., T], *arguments: object) -> T:
        """Return the function's result, computed in a thread when it is this computation's turn."""
        if urgency is Urgency.SMALL:
            return await asyncio.to_thread(function, *arguments)
        async with self._turn(urgency):
            run, loop = copy_context().run, asyncio.get_running_loop()
            return await loop.run_in_executor(self._yielding, run, function, *arguments)

    @asynccontextmanager
    async def _turn(self, urgency: Urgency) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._given(urgency)
        try:
            yield
        finally:
            self._pass_on()

    async def _given(self, urgency: Urgency) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[urgency].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given in the moment of the cancellation
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        for waiting in self._waiting.values():  # the most urgent first
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and the quota of its control group."""
    cores = len(os.sched_getaffinity(0))
    try:
        return max(1, min(cores, _cores_of(_QUOTA.read_text())))
    except (OSError, ValueError):  # there are no control groups of version 2, or no quota
        return cores


@dataclass(frozen=True, slots=True)
class ProcessorUse:
    """The time for which a process has used a processor, and waited for one, in seconds."""

    running: float
    waiting: float


def processor_use(process: int) -> ProcessorUse | None:
    """Return the use by a process with one thread; None if it has ended, or the kernel does not count it."""
    try:
        running, waiting, _ = Path(f"/proc/{process}/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return ProcessorUse(int(running) / 1e9, int(waiting) / 1e9)


def _cores_of(quota: str) -> int:
    """Return the cores of a quota as in `cpu.max`: microseconds of each period, and the period.

    Raises:
        ValueError: there is no quota.
    """
    microseconds, period = map(int, quota.split())
    return ceil(microseconds / period)
