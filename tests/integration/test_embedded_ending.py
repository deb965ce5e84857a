"""However a stack ends, and whenever, it leaves no process and no port behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import aio_pika
import pytest

from shotwatch_embedded.description import find_stack, running_stacks
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import State, Status
from tests.broker import TOPOLOGY, admit_tester, as_tester

from .processes import listeners, listening_of
from .query_world import anomaly_event

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from shotwatch_embedded.stack import Stack

async def main():
    root, settings = Path(sys.argv[1]), {"SHOTWATCH_MODELS_URL": "http://models.invalid"}
    report = lambda status: print(status.name, status.state, flush=True)
    async with Stack.claim(root, facility=root / "f.yaml", settings=settings, on_change=report):
        print("all up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
DEADLINE = 60


@dataclass(frozen=True)
class Supervisor:
    """A process that holds a stack, and the processes below it when it was asked."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, root: Path) -> "Supervisor":
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", SUPERVISOR, str(root)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )

    async def has_stated(self, what: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            async for line in self.process.stdout:
                if line.decode().strip() == what:
                    return
        pytest.fail(f"it ended without printing {what!r}")

    async def end_by(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


def parents() -> dict[int, int]:
    """The parent of every living process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    """All that the process started, and what those started."""
    children = {child for child, parent in parents().items() if parent == pid}
    return children.union(*map(descendants, children))


def listening() -> set[str]:
    return set(listeners().values())


def guard_among(pids: set[int]) -> int:
    (guard,) = (pid for pid in pids if b"processes.py" in command_line(pid))
    return guard


def command_line(pid: int) -> bytes:
    """How the process was started; nothing once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; fail when it does not within the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not holds():
            await asyncio.sleep(0.05)


async def test_stopping_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings={}):
        started = descendants(os.getpid()) - before
        ports = listening_of(started)
        assert len(started) >= 8
        assert len(ports) >= 4
    assert not started & parents().keys()
    assert not ports & listening()
    assert running_stacks(tmp_path) == []


async def test_cancelling_in_the_middle_of_the_start_leaves_nothing(tmp_path: Path) -> None:
    broker_starts = asyncio.Event()

    def watch(status: Status) -> None:
        if (status.name, status.state) == ("broker", State.STARTING):
            broker_starts.set()

    async def start() -> None:
        async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings={}, on_change=watch):
            pytest.fail("it was to be cancelled before")

    before = descendants(os.getpid())
    starting = asyncio.create_task(start())
    async with asyncio.timeout(DEADLINE):
        await broker_starts.wait()
    started = descendants(os.getpid()) - before
    assert len(started) >= 5
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not descendants(os.getpid()) - before
    assert not started & parents().keys()


@pytest.mark.parametrize("moment", ["store starting", "broker starting", "all up"])
async def test_ctrl_c_at_any_time_leaves_nothing(tmp_path: Path, moment: str) -> None:
    supervisor = await Supervisor.start(tmp_path)
    await supervisor.has_stated(moment)
    started = descendants(supervisor.process.pid)
    assert started
    await supervisor.end_by(signal.SIGINT)
    assert not started & parents().keys()


async def test_ctrl_c_twice_leaves_nothing(tmp_path: Path) -> None:
    supervisor = await Supervisor.start(tmp_path)
    await supervisor.has_stated("all up")
    started = descendants(supervisor.process.pid)
    supervisor.process.send_signal(signal.SIGINT)
    await supervisor.has_stated("store stopped")
    await supervisor.end_by(signal.SIGINT)
    await until(lambda: not started & parents().keys())


@pytest.mark.parametrize("moment", ["store starting", "all up"])
async def test_a_killed_supervisor_leaves_nothing(tmp_path: Path, moment: str) -> None:
    supervisor = await Supervisor.start(tmp_path)
    await supervisor.has_stated(moment)
    started = descendants(supervisor.process.pid)
    ports = listening_of(started)
    assert await supervisor.end_by(signal.SIGKILL) == -signal.SIGKILL
    await until(lambda: not started & parents().keys())
    await until(lambda: not ports & listening())  # threads of what has ended may still hold its sockets
    assert running_stacks(tmp_path) == []


async def test_tail_ends_with_its_stack(tmp_path: Path) -> None:
    """Another user may listen on the broker's port by now, and tail would send the password there."""
    broker = tmp_path / "default" / "broker"
    admit_tester(broker)
    supervisor = await Supervisor.start(tmp_path)
    await supervisor.has_stated("all up")
    tail = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("shotwatch"), "tail", "--root", str(tmp_path), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        await publish_until_shown(find_stack(tmp_path).environment["SHOTWATCH_BROKER_URL"], tail)
    await supervisor.end_by(signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        _, errors = await tail.communicate()
    assert "the stack default has ended" in errors.decode()
    assert tail.returncode == 1


async def publish_until_shown(address: str, tail: Process) -> None:
    """Publish events that `shotwatch tail` need not know, until it shows the first one."""
    assert tail.stdout is not None
    shown = asyncio.create_task(tail.stdout.readline())
    async with await aio_pika.connect(as_tester(address)) as connection:
        channel = await connection.channel()
        anomalies = await channel.get_exchange(TOPOLOGY.anomalies.name)
        for number in count(1):
            if shown.done():
                return
            event = anomaly_event(0, number)
            message = aio_pika.Message(event.model_dump_json(by_alias=True).encode())
            await anomalies.publish(message, event.routing_key)
            await asyncio.sleep(0.05)


async def test_the_next_stack_ends_what_a_dead_supervisor_and_a_dead_guard_left(tmp_path: Path) -> None:
    supervisor = await Supervisor.start(tmp_path)
    await supervisor.has_stated("store ready")
    started = descendants(supervisor.process.pid)
    os.kill(guard_among(started), signal.SIGKILL)
    await supervisor.end_by(signal.SIGKILL)
    assert started & parents().keys()
    await Stack.claim(tmp_path, "default", facility=tmp_path / "f.yaml").stop()
    assert not started & parents().keys()
