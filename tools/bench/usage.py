"""CPU time and memory of a stack's processes, from /proc."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic, process_time, time

from shotwatch_embedded.stack import Stack

BENCH = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_EVERY_S = 1.0
_MEMORY_EVERY = 5
"""Reading the memory of a process takes the kernel milliseconds: only every fifth sample has it."""

Kept = tuple[str, int]
"""Name and pid of a process that the stack keeps running. A restarted process has another pid."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes at one time, by the name of the kept process, which includes its children."""

    at: float
    """Seconds since the epoch."""
    cpu_s: Mapping[str, float]
    """Since the watch began; `bench` is this process. A process that died keeps what it had used."""
    pss_mib: Mapping[str, float]
    """Resident memory, in which a page that n processes share counts 1/n for each; empty if not read."""
    idle_s: float
    """Core seconds in which the machine had nothing to do, since it started."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time and memory that the processes of a stack used while they were watched."""

    samples: list[Sample] = field(default_factory=list)

    def cpu_s(self, start: float = -inf, end: float = inf) -> dict[str, float]:
        """Return the CPU seconds that each process used from `start` to `end`, to the nearest samples."""
        before, after = self._last_until(start).cpu_s, self._last_until(end).cpu_s
        return {name: spent - before.get(name, 0.0) for name, spent in after.items()}

    @property
    def core_s(self) -> float:
        """Core seconds of the machine from the first sample to the last."""
        return (self.samples[-1].at - self.samples[0].at) * cores()

    @property
    def idle_share(self) -> float:
        """Share of all cores' time that was idle, 0..1."""
        return (self.samples[-1].idle_s - self.samples[0].idle_s) / self.core_s

    @property
    def own_share(self) -> float:
        """Share of all cores' time that the watched processes used, 0..1."""
        return sum(self.cpu_s().values()) / self.core_s

    def peak_mib(self) -> dict[str, float]:
        """Return the greatest memory of each process."""
        peaks: dict[str, float] = {}
        for sample in self.samples:
            for name, mib in sample.pss_mib.items():
                peaks[name] = max(mib, peaks.get(name, 0.0))
        return peaks

    def peak_total_mib(self, start: float = -inf, end: float = inf) -> float:
        """Return the greatest sum over all processes at one time from `start` to `end`."""
        inside = (sample for sample in self.samples if start <= sample.at <= end)
        return max((sum(sample.pss_mib.values()) for sample in inside), default=0.0)

    def _last_until(self, at: float) -> Sample:
        return next((sample for sample in reversed(self.samples) if sample.at <= at), self.samples[0])


def cores() -> int:
    """Return how many cores the machine has."""
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    cpu_s: float


def spent_by(stack: Stack) -> dict[str, tuple[float, float]]:
    """Return the CPU seconds since its start, and the memory (PSS, MiB), of each process of a stack."""
    kept = {status.pid: status.name for status in stack.status() if status.pid is not None}
    spent: dict[str, tuple[float, float]] = {}
    for (name, _), process in _descendants(kept):
        cpu_s, mib = spent.get(name, (0.0, 0.0))
        spent[name] = cpu_s + process.cpu_s, mib + _pss_mib(process.pid)
    return spent


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[Usage]:
    """Watch the stack. The usage has a sample every second, one at the begin, and one at the end."""
    usage, sampler = Usage(), _Sampler()
    usage.samples.append(await sampler.take(stack, memory=True))
    sampling = asyncio.create_task(_sample(stack, sampler, usage))
    try:
        yield usage
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
        usage.samples.append(await sampler.take(stack, memory=True))


async def _sample(stack: Stack, sampler: "_Sampler", usage: Usage) -> None:
    started, taken = monotonic(), 0
    while True:
        taken += 1
        await asyncio.sleep(started + taken * _SAMPLE_EVERY_S - monotonic())
        usage.samples.append(await sampler.take(stack, memory=taken % _MEMORY_EVERY == 0))


class _Sampler:
    """Takes samples, and knows the CPU time at the first one."""

    def __init__(self) -> None:
        self._first: dict[Kept, float] | None = None
        self._latest: dict[Kept, float] = {}
        self._began = process_time()

    async def take(self, stack: Stack, memory: bool) -> Sample:
        kept = {status.pid: status.name for status in stack.status() if status.pid is not None}
        return await asyncio.to_thread(self._take, kept, memory)

    def _take(self, kept: Mapping[int, str], memory: bool) -> Sample:
        now: defaultdict[Kept, float] = defaultdict(float)
        pss: defaultdict[str, float] = defaultdict(float)
        for name, process in _descendants(kept):
            now[name] += process.cpu_s
            if memory:
                pss[name[0]] += _pss_mib(process.pid)
        self._latest |= now
        if self._first is None:
            self._first = dict(now)
        spent: defaultdict[str, float] = defaultdict(float)
        for name, cpu_s in self._latest.items():
            spent[name[0]] += cpu_s - self._first.get(name, 0.0)
        spent[BENCH] = process_time() - self._began
        return Sample(time(), dict(spent), dict(pss), _idle_s())


def _descendants(kept: Mapping[int, str]) -> Iterator[tuple[Kept, _Process]]:
    """Yield every living process that the stack keeps and all its descendants, under the kept process.

    Descendants are found by parent process, not by the stack's mark in the environment, because ingest's
    readers do not carry the mark.
    """
    living = {pid: process for pid in _pids() if (process := _read(pid)) is not None}
    for pid, process in living.items():
        leader = next((above for above in _line(pid, living) if above in kept), None)
        if leader is not None:
            yield (kept[leader], leader), process


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
    return _Process(pid, int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)


def _pss_mib(pid: int) -> float:
    """Return the proportional set size of a process, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _idle_s() -> float:
    """Return the idle time of all cores since the machine started, waiting for disks included."""
    _, _, _, _, idle, waiting, *_ = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(idle) + int(waiting)) / _TICKS
