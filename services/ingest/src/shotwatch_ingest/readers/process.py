"""The reader: a disposable process that reads files of unknown origin, one after the other.

It receives no secret, is limited in memory and CPU time, cannot open anything, and can be killed at any
moment. It receives each file, and a place for the columns of its blocks, as open descriptors.
`pool.ReaderPool` runs `python -m shotwatch_ingest.readers.process DESCRIPTOR`; DESCRIPTOR is the socket on
which requests arrive.
"""

import array  # noqa: F401  socket.recv_fds imports it when it is called: too late in a sandbox
import codecs
import ctypes
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from io import BytesIO
from pathlib import Path

import numpy as np

from shotwatch_common.printable import printable
from shotwatch_ingest.domain.snapshot import Snapshot, read_snapshot
from shotwatch_ingest.readers.exchange import (
    FRAME_HEADER_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    MAX_TEXT,
    Failed,
    ReadFile,
    ReadOutcome,
    Rejected,
    Request,
    framed,
    read_all,
    read_file,
    write_all,
)
from shotwatch_ingest.readers.sandbox import SandboxError, enter_sandbox
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.facility import Facility
from shotwatch_shots.vocabulary import FileReason

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until the service closes its end. The facility and the memory limit come first."""
    _die_with_the_service()
    requests, replies = socket.socket(fileno=int(sys.argv[1])), os.dup(sys.stdout.fileno())
    facility, memory_bytes = _read_configuration()
    _import_lazy_modules()
    _limit_memory(memory_bytes)
    _discard_output()
    try:
        enter_sandbox()
    except SandboxError as error:
        write_all(replies, framed(str(error).encode()))
        return
    write_all(replies, framed(b""))
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 2)
        if not message:
            return
        image, blocks = descriptors
        pickled = BytesIO(message)
        signal.setitimer(signal.ITIMER_PROF, pickle.load(pickled))  # noqa: S301  the service wrote it
        answer = reply(pickle.load(pickled), image, blocks, facility)  # noqa: S301
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.close(image)
        os.close(blocks)
        write_all(replies, framed(answer))


def reply(request: Request, image: int, blocks: int, facility: Facility) -> bytes:
    """Read the file of descriptor `image`, write its columns to `blocks`, and return the outcome as JSON."""
    outcome = _outcome(request, image, blocks, facility).model_dump_json().encode()
    if len(outcome) <= MAX_REPLY_BYTES:
        return outcome
    _, key, _ = request
    detail = f"{key}: its records take {len(outcome)} bytes in a message, over the limit of {MAX_REPLY_BYTES}"
    return Rejected(reason=FileReason.TOO_LARGE, detail=detail).model_dump_json().encode()


def _outcome(request: Request, image: int, blocks: int, facility: Facility) -> ReadOutcome:
    name, key, latest_ms = request
    try:
        return _stored(read_snapshot(key, read_all(image), name, facility, latest_ms), blocks)
    except Reject as reject:
        return Rejected(reason=FileReason(reject.reason), detail=printable(reject.detail)[:MAX_TEXT])
    except Retry as error:
        return Failed(cause="scratch", detail=str(error)[:MAX_TEXT])
    except MemoryError:
        return Failed(cause="memory", detail="needs more memory than a reader may take")
    except Exception:  # noqa: BLE001  the edge of this process
        return Failed(cause="bug", detail=traceback.format_exc()[-MAX_TEXT:])


def _stored(snapshot: Snapshot, blocks: int) -> ReadFile:
    """Write the columns one after the other, and return what was read.

    Raises:
        Retry: the columns cannot be written.
    """
    os.lseek(blocks, 0, os.SEEK_SET)  # a reader that crashed may have written before
    try:
        for device in snapshot.devices:
            for array in device.block.arrays.values():
                write_all(blocks, np.ascontiguousarray(array).data.cast("B"))
    except OSError as error:
        raise Retry(f"the blocks cannot be written: {error}") from error
    return read_file(snapshot)


def _read_configuration() -> tuple[Facility, int]:
    with sys.stdin.buffer as stdin:
        length = int.from_bytes(stdin.read(FRAME_HEADER_BYTES), "little")
        facility, memory_bytes = pickle.loads(stdin.read(length))  # noqa: S301  the service wrote it
    return facility, memory_bytes


def _import_lazy_modules() -> None:
    """Call functions that import modules at their first call: in the sandbox no module can be opened."""
    printable("\0")
    codecs.lookup("ascii")


def _limit_memory(memory_bytes: int) -> None:
    """Limit the memory of this process, shared memory included, which RLIMIT_DATA would not count.

    RLIMIT_AS counts everything that is mapped. Programs and libraries, which are mapped by now, are added.
    """
    mapped, _, _, _, _, data, _ = map(int, Path("/proc/self/statm").read_text().split())
    limit = memory_bytes + (mapped - data) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _discard_output() -> None:
    """Discard what libraries print, because it may contain anything from a file."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for printed in (sys.stdout, sys.stderr):
        os.dup2(nowhere, printed.fileno())


def _die_with_the_service() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
