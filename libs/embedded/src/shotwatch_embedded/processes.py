"""The processes of a stack, and the guard that ends them when their supervisor cannot.

Every process of a stack has the stack's folder in its environment. Its descendants inherit it, whatever
process group, session or parent they have. So all of them are found.

Run as a program, this module is the guard. It waits for the stack's lock, which the kernel releases when the
supervisor dies for any reason, and then ends the remaining processes. It imports only the standard library,
so that a guard costs little.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK_NAME = "stack.lock"
_MARK = "SHOTWATCH_PROCESS_OF"
_KILL_TIMEOUT = 10.0
_LISTEN = "0A"


def mark(folder: Path) -> dict[str, str]:
    """Return the environment variable that marks a process as part of the stack."""
    return {_MARK: str(folder)}


def processes(folder: Path) -> set[int]:
    """Return the ids of all living processes of the stack in `folder`, except the caller's own."""
    entry = f"{_MARK}={folder}".encode()
    return {pid for pid in _all_processes() if entry in _environment(pid)} - {os.getpid()}


def kill_all(folder: Path) -> None:
    """End every process of the stack by SIGKILL and return when all have ended, or after ten seconds."""
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (left := processes(folder)) and time.monotonic() < deadline:
        for pid in left:
            _kill(pid)
        time.sleep(0.02)


def listens(folder: Path, port: int) -> bool:
    """Return whether a process of the stack listens on TCP `port`, not a program that took the port first."""
    sockets = set(_listening_sockets(port))
    return bool(sockets) and any(sockets.intersection(_open_files(pid)) for pid in processes(folder))


def start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Start the guard of the stack in `folder`, whose lock the caller holds."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-I", "-S", __file__, folder],
        env=mark(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _guard(folder: Path) -> None:
    with (folder / LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kill_all(folder)
        time.sleep(0.2)  # until a process that was being started when the supervisor died is visible
        kill_all(folder)


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or belongs to another user
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _listening_sockets(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, local, _, state, *_rest = line.split()
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield f"socket:[{line.split()[9]}]"


def _open_files(pid: int) -> Iterator[str]:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            yield str(descriptor.readlink())
    except OSError:  # it has ended, or closed this descriptor
        return


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
