"""CPU time and memory of a stack's processes, from /proc."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from shotwatch_embedded.stack import Stack

BENCH = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_EVERY_S = 1.0

Kept = tuple[str, int]
"""Name and pid of a process that the stack keeps running. A restarted process has another pid."""


@dataclass
class Usage:
    """CPU time and memory of the processes of a stack while they were watched."""

    cpu_s: dict[str, float]
    """By the name of the process, including its children; `bench` is this process."""
    peak_mib: dict[str, float]
    """Resident memory; pages that several processes share count for each of them."""
    peak_total_mib: float
    """The greatest sum at one time, without this process."""


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    cpu_s: float
    resident_mib: float


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[Usage]:
    """Watch the stack. The usage is complete when the context is left."""
    usage, began = Usage({}, {}, 0.0), process_time()
    before = _spent(stack)
    latest = dict(before)
    sampling = asyncio.create_task(_sample(stack, usage, latest))
    try:
        yield usage
    finally:
        sampling.cancel()
        latest |= _spent(stack)
        usage.cpu_s = _by_name(before, latest) | {BENCH: process_time() - began}


async def _sample(stack: Stack, usage: Usage, latest: dict[Kept, float]) -> None:
    while True:
        latest |= _spent(stack)
        now: defaultdict[str, float] = defaultdict(float)
        for (name, _), process in _kept(stack):
            now[name] += process.resident_mib
        for name, mib in now.items():
            usage.peak_mib[name] = max(mib, usage.peak_mib.get(name, 0.0))
        usage.peak_total_mib = max(usage.peak_total_mib, sum(now.values()))
        await asyncio.sleep(_SAMPLE_EVERY_S)


def _spent(stack: Stack) -> dict[Kept, float]:
    """Return the CPU seconds since its start of each process that the stack keeps, including its children."""
    spent: defaultdict[Kept, float] = defaultdict(float)
    for kept, process in _kept(stack):
        spent[kept] += process.cpu_s
    return dict(spent)


def _by_name(before: Mapping[Kept, float], latest: Mapping[Kept, float]) -> dict[str, float]:
    """Return the CPU seconds spent since `before`. For a process that died, the last sample counts."""
    spent: defaultdict[str, float] = defaultdict(float)
    for kept, cpu_s in latest.items():
        spent[kept[0]] += cpu_s - before.get(kept, 0.0)
    return dict(spent)


def _kept(stack: Stack) -> Iterator[tuple[Kept, _Process]]:
    """Yield every living process that the stack keeps and all its descendants, under the kept process.

    Descendants are found by parent process, not by the stack's mark in the environment, because ingest's
    readers do not carry the mark.
    """
    names = {status.pid: status.name for status in stack.status() if status.pid is not None}
    living = {pid: process for pid in _pids() if (process := _read(pid)) is not None}
    for pid, process in living.items():
        kept = next((above for above in _line(pid, living) if above in names), None)
        if kept is not None:
            yield (names[kept], kept), process


def _line(pid: int, living: Mapping[int, _Process]) -> Iterator[int]:
    """Yield the process, its parent, the parent of that, and so on."""
    while pid in living:
        yield pid
        pid = living[pid].parent


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _read(pid: int) -> _Process | None:
    """Read a process from /proc; return None if it has ended.

    The CPU time includes children that ended and were reaped.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return _Process(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE / 2**20)
