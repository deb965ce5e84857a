"""Reading of files of unknown origin in disposable processes, to protect the service and other files.

A reader that crashes, or exceeds its limits of time or memory, is replaced. A file that used up its CPU time
is rejected at once. A file whose reader waited for a processor for most of its time is retried later. Any
other failed file, such as one at which the reader did nothing, is tried once more in a fresh process, because
the machine may have been at fault, and then rejected. Both tries share the CPU time of one file. Other files
are read meanwhile.
"""

import asyncio
import os
import pickle
import signal
import socket
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from shotwatch_common.printable import printable, printable_lines
from shotwatch_common.settings import SettingsError
from shotwatch_common.turns import ProcessorUse, processor_use, yield_cores
from shotwatch_ingest.readers.exchange import (
    FRAME_HEADER_BYTES,
    MAX_REPLY_BYTES,
    CpuTime,
    Failed,
    ReadFile,
    ReadOutcome,
    Rejected,
    Request,
    Workspace,
    cpu_seconds,
    framed,
    outcomes,
)
from shotwatch_ingest.readers.verification import require_possible
from shotwatch_shots.errors import Bug, Reject, Retry
from shotwatch_shots.facility import Facility, FileName
from shotwatch_shots.vocabulary import FileReason

START_SECONDS = 60.0

_DAMAGING = {FileReason.UNREADABLE, FileReason.TOO_LARGE}
"""Rejections after which the reader's heap is not trusted with another file."""
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""Environment variables that a reader inherits from the service: none is secret."""
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # no plugins, whatever filter a file requests
    "OPENBLAS_NUM_THREADS": "1",
    # Keep the memory of one file's arrays for the next file: fresh pages cost 10 ms per camera file.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}

_REMEDY = (
    "files of unknown origin are read only in a process that can open nothing else: "
    "allow the system calls prctl and seccomp, in a container by its runtime's default seccomp profile"
)


class ReaderPool:
    """A pool of reader processes, which may yield the cores to other work.

    An asynchronous context manager. Entering it starts the first process, leaving it ends them all. For each
    file, the service holds in memory only a reply of at most MAX_REPLY_BYTES, and one block with its columns
    at a time. The file's bytes are in its workspace.
    """

    def __init__(
        self,
        facility: Facility,
        *,
        processes: int,
        seconds_per_file: float = 60.0,
        memory_bytes: int = 2 << 30,
        yielding: bool = False,
    ) -> None:
        self._facility = facility
        self._seconds_per_file = seconds_per_file
        self._memory_bytes = memory_bytes
        self._yielding = yielding
        self._readers: set[_Reader] = set()
        self._idle: asyncio.LifoQueue[_Reader | None] = asyncio.LifoQueue()
        for _ in range(processes - 1):
            self._idle.put_nowait(None)

    async def __aenter__(self) -> Self:
        """Start a reader.

        Raises:
            SettingsError: readers cannot be confined on this machine.
            Retry: no reader starts.
        """
        self._idle.put_nowait(await self._replaced(None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for reader in list(self._readers):
            await self._end(reader)

    async def read(self, workspace: Workspace, name: FileName, key: str, latest_ms: int) -> ReadFile:
        """Read the file of a workspace; its blocks are written there.

        Records later than `latest_ms` (epoch ms) are skipped.

        Raises:
            Reject: a fault of the file, with its reason (CRASHES_READER and TOO_SLOW among them).
            Retry: a fault of the machine: a reader does not start, gets no processor, or has no room.
            Bug: a fault of this program.
        """
        request = (name, key, latest_ms)
        cpu_time = CpuTime(cpu_seconds(workspace.size))
        try:
            outcome = await self._attempt(request, workspace, cpu_time)
        except _Mishap as mishap:
            if cpu_time.left <= 0:
                raise Reject(mishap.reason, f"{key}: the reader {mishap}") from mishap
            outcome = await self._attempt_again(request, workspace, cpu_time)
        match outcome:
            case ReadFile():
                return outcome
            case Rejected():
                raise Reject(outcome.reason, printable(outcome.detail))
            case Failed(cause="scratch"):
                raise Retry(f"{key}: {printable(outcome.detail)}")
            case Failed():
                raise Bug(f"{key}: {printable_lines(outcome.detail)}")

    async def _attempt_again(self, request: Request, workspace: Workspace, cpu_time: CpuTime) -> ReadOutcome:
        try:
            return await self._attempt(request, workspace, cpu_time, fresh=True)
        except _Mishap as mishap:
            _, key, _ = request
            raise Reject(mishap.reason, f"{key}: the reader {mishap}, twice") from mishap

    async def _attempt(
        self, request: Request, workspace: Workspace, cpu_time: CpuTime, fresh: bool = False
    ) -> ReadOutcome:
        """Send the request to an idle reader; end it if it failed or if its answer was not received."""
        reader = await self._idle.get()
        trusted = False
        try:
            if reader is None or fresh:
                reader = await self._replaced(reader)
            with cpu_time.taken(reader.use) as left:
                outcome = await reader.ask(request, workspace, left, self._seconds_per_file)
            self._require_possible(outcome, request, workspace)
            # One that claims a failure would otherwise get the same file again, and all others.
            failed = isinstance(outcome, Failed)
            trusted = not failed and not (isinstance(outcome, Rejected) and outcome.reason in _DAMAGING)
            return outcome
        finally:
            self._idle.put_nowait(reader if trusted else None)
            if reader is not None and not trusted:
                await self._end(reader)

    def _require_possible(self, outcome: ReadOutcome, request: Request, workspace: Workspace) -> None:
        """Raise _Mishap if the outcome cannot be that of reading the file."""
        try:
            if isinstance(outcome, ReadFile):
                require_possible(outcome, request, self._facility, workspace.written_bytes)
        except ValueError as problem:
            raise _Mishap(FileReason.CRASHES_READER, f"sent an impossible reply: {problem}") from problem

    async def _replaced(self, reader: "_Reader | None") -> "_Reader":
        if reader is not None:
            await self._end(reader)
        fresh = await _Reader.spawn()
        self._readers.add(fresh)
        if self._yielding:
            fresh.yield_cores()
        ready = False
        try:
            await fresh.configure(self._facility, self._memory_bytes)
            ready = True
            return fresh
        finally:
            if not ready:
                await self._end(fresh)

    async def _end(self, reader: "_Reader") -> None:
        self._readers.discard(reader)
        await reader.end()


class _Mishap(Exception):
    """A failure of a reader at a file; the message continues the words `the reader …`."""

    def __init__(self, reason: FileReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Reader:
    """A reader process; it handles one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process, requests: socket.socket) -> None:
        self._process = process
        self._requests = requests

    @classmethod
    async def spawn(cls) -> Self:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "shotwatch_ingest.readers.process", str(theirs.fileno())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={**passed_on, **_ENVIRONMENT},
            )
        return cls(process, ours)

    def yield_cores(self) -> None:
        with suppress(ProcessLookupError):
            yield_cores(self._process.pid)

    async def configure(self, facility: Facility, memory_bytes: int) -> None:
        """Send the facility and the memory limit, and wait until the reader is ready.

        Raises:
            SettingsError: it cannot be confined.
            Retry: it does not start.
        """
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(framed(pickle.dumps((facility, memory_bytes))))
        try:
            async with asyncio.timeout(START_SECONDS):
                await stdin.drain()
                refusal = await self._reply()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise Retry("no reader process starts") from error
        if refusal:
            raise SettingsError(f"{refusal.decode()}; {_REMEDY}")
        stdin.close()

    async def ask(
        self, request: Request, workspace: Workspace, cpu_seconds_left: float, seconds: float
    ) -> ReadOutcome:
        """Return the outcome of reading a file within these limits of CPU time and wall-clock time.

        Raises:
            _Mishap: the reader died, or exceeded its limits of time or memory.
            Retry: it waited for a processor for most of the time.
        """
        before = self.use()
        try:
            async with asyncio.timeout(seconds):
                pickled = [pickle.dumps(cpu_seconds_left), pickle.dumps(request)]
                socket.send_fds(self._requests, pickled, [workspace.image, workspace.blocks])
                outcome = outcomes.validate_json(await self._reply())
        except TimeoutError as error:
            after = self.use()
            waited = after.waiting - before.waiting if before and after else 0.0
            if waited > seconds / 2:
                _, key, _ = request
                why = f"the reader waited for a processor for {waited:.1f} of {seconds:g} s"
                raise Retry(f"{key}: {why}") from error
            raise _Mishap(FileReason.TOO_SLOW, f"took longer than {seconds:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._end_reason() from error
        except ValidationError as error:
            raise _Mishap(FileReason.CRASHES_READER, "sent a reply that is malformed") from error
        if isinstance(outcome, Failed) and outcome.cause == "memory":
            raise _Mishap(FileReason.TOO_LARGE, outcome.detail)
        return outcome

    def use(self) -> ProcessorUse | None:
        return processor_use(self._process.pid)

    async def end(self) -> None:
        self._requests.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _reply(self) -> bytes:
        replies = self._process.stdout
        assert replies is not None
        length = int.from_bytes(await replies.readexactly(FRAME_HEADER_BYTES), "little")
        if length > MAX_REPLY_BYTES:
            raise _Mishap(FileReason.TOO_LARGE, f"announced a reply of {length} bytes")
        return await replies.readexactly(length)

    async def _end_reason(self) -> _Mishap:
        code = await self._process.wait()
        if code == -signal.SIGPROF:
            return _Mishap(FileReason.TOO_SLOW, "took more CPU time than a file of its size may")
        cause = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return _Mishap(FileReason.CRASHES_READER, cause)
