"""Reads files of unknown origin in disposable processes, so that none can harm the service or each other.

A reader that crashes, or takes more time or memory than it may, is replaced. A file that took too long is
rejected at once; any other is tried once more in a fresh process, because machines hiccup, and then rejected.
Other files are read meanwhile.
"""

import asyncio
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from shotwatch_common.errors import Bug, Reject, Retry
from shotwatch_common.facility import Facility, FileName
from shotwatch_common.vocabulary import FileReason
from shotwatch_ingest.reader_messages import (
    FRAME_HEADER_BYTES,
    MAX_REPLY_BYTES,
    Failed,
    Outcome,
    ReadFile,
    Rejected,
    Request,
    framed,
    outcomes,
)
from shotwatch_ingest.reader_scratch import Scratch

START_SECONDS = 60.0

_DAMAGING = {FileReason.UNREADABLE, FileReason.TOO_LARGE}
"""After such a file the reader's heap is not trusted with another one."""
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""What a reader's environment has of the service's: nothing secret."""
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # no plugins, whatever filter a file asks for
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte at once
}


class ReaderPool:
    """A number of reader processes and their scratch folder.

    An asynchronous context manager: leaving it ends the processes and removes the folder.
    """

    def __init__(
        self,
        facility: Facility,
        *,
        processes: int,
        seconds_per_file: float = 60.0,
        memory_bytes: int = 2 << 30,
    ) -> None:
        self._facility = facility
        self._seconds_per_file = seconds_per_file
        self._memory_bytes = memory_bytes
        self._readers: set[_Reader] = set()
        self._idle: asyncio.LifoQueue[_Reader | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._idle.put_nowait(None)

    async def __aenter__(self) -> Self:
        self._scratch = Scratch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for reader in list(self._readers):
            await self._end(reader)
        self._scratch.remove()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A fresh folder for one file and its blocks, removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self._scratch.folder) as folder:
            yield Path(folder)

    async def read(self, path: Path, name: FileName, key: str, latest_ms: int) -> ReadFile:
        """Read a file that lies in a workspace; its blocks are written beside it.

        Records later than `latest_ms` (epoch ms) are passed over.

        Raises:
            Reject: the file's fault, with its reason (CRASHES_READER and TOO_SLOW among them).
            Retry: the machine's: no reader starts, the scratch folder is full.
            Bug: ours.
        """
        request = (path, name, key, latest_ms)
        try:
            outcome = await self._attempt(request)
        except _Mishap as mishap:
            if mishap.reason is FileReason.TOO_SLOW:
                raise Reject(mishap.reason, f"{key}: the reader {mishap}") from mishap
            outcome = await self._attempt_again(request)
        match outcome:
            case ReadFile():
                return outcome
            case Rejected():
                raise Reject(outcome.reason, outcome.detail)
            case Failed(cause="scratch"):
                raise Retry(f"{key}: the scratch folder: {outcome.detail}")
            case Failed():
                raise Bug(f"{key}: {outcome.detail}")

    async def _attempt_again(self, request: Request) -> Outcome:
        try:
            return await self._attempt(request, fresh=True)
        except _Mishap as mishap:
            raise Reject(mishap.reason, f"{request[2]}: the reader {mishap}, twice") from mishap

    async def _attempt(self, request: Request, fresh: bool = False) -> Outcome:
        """Ask an idle reader; one that failed, or whose answer was not awaited, is never asked again."""
        reader = await self._idle.get()
        trusted = False
        try:
            if reader is None or fresh:
                reader = await self._replaced(reader)
            outcome = await reader.ask(request, self._seconds_per_file)
            trusted = not (isinstance(outcome, Rejected) and outcome.reason in _DAMAGING)
            return outcome
        finally:
            self._idle.put_nowait(reader if trusted else None)
            if reader is not None and not trusted:
                await self._end(reader)

    async def _replaced(self, reader: "_Reader | None") -> "_Reader":
        if reader is not None:
            await self._end(reader)
        fresh = await _Reader.spawn()
        self._readers.add(fresh)
        await fresh.greet(self._facility, self._memory_bytes)
        return fresh

    async def _end(self, reader: "_Reader") -> None:
        self._readers.discard(reader)
        await reader.end()


class _Mishap(Exception):
    """A reader failed at a file; the message continues `the reader …`."""

    def __init__(self, reason: FileReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Reader:
    """One reader process, asked one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def spawn(cls) -> Self:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "shotwatch_ingest.reader_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**passed_on, **_ENVIRONMENT},
        )
        return cls(process)

    async def greet(self, facility: Facility, memory_bytes: int) -> None:
        """Wait until the reader is ready.

        Raises:
            Retry: it does not start.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._exchange((facility, memory_bytes))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise Retry("no reader process starts") from error

    async def ask(self, request: Request, seconds: float) -> Outcome:
        """The outcome of reading a file.

        Raises:
            _Mishap: the reader died, or took more time or memory than it may.
        """
        try:
            async with asyncio.timeout(seconds):
                outcome = outcomes.validate_json(await self._exchange(request))
        except TimeoutError as error:
            raise _Mishap(FileReason.TOO_SLOW, f"took longer than {seconds:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _Mishap(FileReason.CRASHES_READER, await self._cause_of_death()) from error
        if isinstance(outcome, Failed) and outcome.cause == "memory":
            raise _Mishap(FileReason.TOO_LARGE, outcome.detail)
        return outcome

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _exchange(self, message: object) -> bytes:
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        requests.write(framed(pickle.dumps(message)))
        await requests.drain()
        length = int.from_bytes(await replies.readexactly(FRAME_HEADER_BYTES), "little")
        if length > MAX_REPLY_BYTES:
            raise _Mishap(FileReason.TOO_LARGE, f"announced a reply of {length} bytes")
        return await replies.readexactly(length)

    async def _cause_of_death(self) -> str:
        code = await self._process.wait()
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
