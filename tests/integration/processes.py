"""Servers that a test runs by themselves, and disks that are too small for them."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from shotwatch_embedded.servers import Server

from .waiting import until


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """The process in a group of its own, which is killed at the end."""
    process = subprocess.Popen(
        command, env=dict(environment), start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[None]:
    """The server, once it works."""
    with running(server.command, server.environment):
        await until(server.probe, f"a {server.name} that works")
        yield


def listeners() -> dict[str, str]:
    """What listens on this machine: the address of each socket."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    lines = (line.split() for table in tables for line in table.read_text().splitlines()[1:])
    return {f"socket:[{fields[9]}]": fields[1] for fields in lines if fields[3] == "0A"}


def listening_of(pids: set[int]) -> set[str]:
    """The addresses on which the processes listen; one that has ended meanwhile listens on none."""
    files = set[str]()
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            files.update(str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return {address for socket, address in listeners().items() if socket in files}


def ports_of(pids: set[int]) -> set[int]:
    """The ports on which the processes listen."""
    return {int(address.rpartition(":")[2], 16) for address in listening_of(pids)}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of so many bytes (`16m`) on the folder; the test is skipped where we may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "shotwatch-test", folder])
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def enlarge(folder: Path, size: str) -> None:
    """Give a small disk more room."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
