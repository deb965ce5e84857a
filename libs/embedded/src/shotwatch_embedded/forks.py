"""Services that are forked from a process with the shared imports, instead of importing them each."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from shotwatch_embedded.fork_server import Request
from shotwatch_embedded.private import UMASK

PYTHON_MODULE = (sys.executable, "-P", "-m")
"""Begin of a command that the fork server can run. The module follows."""
UNKNOWN_EXIT = 255
"""Exit code of a service that ended after its fork server did."""
NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""pyarrow starts a thread for an allocator that it does not use by default."""

_AT_START = ("PYTHON", "LD_", "MALLOC_")


class Fork:
    """A forked service. It is a child of the fork server, not of this process."""

    def __init__(self, pid: int, reports: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reports = reports
        self._handle: int | None = None
        with suppress(ProcessLookupError):  # it has ended, as the next report states
            self._handle = os.pidfd_open(pid)

    async def wait(self) -> int:
        """Wait for its end, and return its exit code (negative: the signal that ended it)."""
        if self.returncode is None:
            code = _value(await self._reports.readline(), "exit")
            if self._handle is not None:
                if code is None:
                    await _readable(self._handle)
                os.close(self._handle)
            self.returncode = UNKNOWN_EXIT if code is None else code
        return self.returncode


class ForkServer:
    """The process that forks services. It starts with the first of them, and again if it has ended.

    Services outlive it. `start` starts it earlier, so that it imports meanwhile.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """Prepare a fork server; `environment` is that of its process, and the log is its output."""
        self._environment = {**environment, **NO_THREADS}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def start(self) -> socket.socket:
        """Start the process unless it runs, and return the socket for requests."""
        if self._process is not None and self._channel is not None and self._process.poll() is None:
            return self._channel
        self.stop()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*PYTHON_MODULE, "shotwatch_embedded.fork_server"],
                env=self._environment,
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=UMASK,
            )
        return self._channel

    def can_run(self, command: tuple[str, ...], environment: Mapping[str, str]) -> bool:
        """Return whether a fork is as good as the command: it runs a module, in the same interpreter."""
        return command[:-1] == PYTHON_MODULE and _at_start(environment) == _at_start(self._environment)

    async def fork(
        self, command: tuple[str, ...], folder: Path, environment: Mapping[str, str], log: BinaryIO
    ) -> Fork:
        """Start a service as a fork. `can_run` has accepted its command.

        Raises:
            OSError: the fork server, or the service, ended meanwhile.
        """
        request = Request(command[-1], str(folder), environment).write()
        reports, pipe = await _pipe()
        try:
            socket.send_fds(self.start(), [b"\0"], [request, log.fileno(), pipe])
        finally:
            os.close(request)
            os.close(pipe)
        pid = _value(await reports.readline(), "pid")
        if pid is None:
            raise ConnectionError(f"the fork server has ended; its log is {self._log}")
        return Fork(pid, reports)

    def stop(self) -> None:
        """End the process, but not the services."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    """Return the reading end and the writing end of a new pipe. The caller closes the latter."""
    read, write = os.pipe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
    )
    return reader, write


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that act when an interpreter starts, and so not in a fork."""
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _value(line: bytes, word: str) -> int | None:
    """Return the number after the word in a report of the fork server, or None if it is another report."""
    key, _, value = line.decode().partition(" ")
    return int(value) if key == word else None


async def _readable(file: int) -> None:
    """Wait until a file can be read; the handle of a process can once the process has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(file)
