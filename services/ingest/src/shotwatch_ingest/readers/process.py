"""The reader: a disposable process that reads files of unknown origin, one after the other.

It receives no secret, is limited in memory and CPU time, cannot open anything, and can be killed at any
moment. It receives each file, and a place for its blocks, as open descriptors. `pool.ReaderPool` runs
`python -m shotwatch_ingest.readers.process DESCRIPTOR`; DESCRIPTOR is the socket on which requests arrive.
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
from importlib.abc import MetaPathFinder
from io import BytesIO

import numpy as np

from shotwatch_common.blocks import Block, write_block
from shotwatch_common.printable import printable
from shotwatch_ingest.domain.snapshot import Snapshot, read_snapshot
from shotwatch_ingest.readers.exchange import (
    FRAME_HEADER_BYTES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    Failed,
    Outcome,
    ReadFile,
    Rejected,
    Request,
    framed,
    read_all,
    read_device,
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
    facility, memory_bytes = _greeting()
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    sys.meta_path.insert(0, _WithoutPandas())
    _import_what_is_imported_late()
    _silence()
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
    """Read the file of descriptor `image`, write its blocks to `blocks`, and return the outcome as JSON."""
    outcome = _outcome(request, image, blocks, facility).model_dump_json().encode()
    if len(outcome) <= MAX_REPLY_BYTES:
        return outcome
    _, key, _ = request
    detail = f"{key}: its records take {len(outcome)} bytes in a message, more than one may have"
    return Rejected(reason=FileReason.TOO_LARGE, detail=detail).model_dump_json().encode()


def _outcome(request: Request, image: int, blocks: int, facility: Facility) -> Outcome:
    name, key, latest_ms = request
    try:
        return _stored(read_snapshot(key, read_all(image), name, facility, latest_ms), blocks)
    except Reject as reject:
        return Rejected(reason=FileReason(reject.reason), detail=printable(reject.detail))
    except Retry as error:
        return Failed(cause="scratch", detail=str(error))
    except MemoryError:
        return Failed(cause="memory", detail="needs more memory than a reader may take")
    except Exception:  # noqa: BLE001  the edge of this process
        return Failed(cause="bug", detail=traceback.format_exc())


def _stored(snapshot: Snapshot, blocks: int) -> ReadFile:
    """Write the blocks one after the other, and return what was read.

    Raises:
        Retry: the blocks cannot be written.
    """
    devices = []
    start = 0
    for device in snapshot.devices:
        block = memoryview(write_block(device.block))
        try:
            write_all(blocks, block)
        except OSError as error:
            raise Retry(f"the blocks cannot be written: {error}") from error
        devices.append(read_device(device, snapshot.interval, start, len(block)))
        start += len(block)
    return read_file(snapshot, devices)


def _greeting() -> tuple[Facility, int]:
    with sys.stdin.buffer as greeting:
        length = int.from_bytes(greeting.read(FRAME_HEADER_BYTES), "little")
        facility, memory_bytes = pickle.loads(greeting.read(length))  # noqa: S301  the service wrote it
    return facility, memory_bytes


def _import_what_is_imported_late() -> None:
    """Call functions that import modules at their first call: in the sandbox no module can be opened."""
    one = np.zeros(1, np.int64)
    write_block(Block("", one, ["ON"], one == 0, {"image": np.zeros((1, 2, 2), np.uint16)}))
    printable("\0")
    codecs.lookup("ascii")


def _silence() -> None:
    """Discard what libraries print, because it may contain anything from a file."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for printed in (sys.stdout, sys.stderr):
        os.dup2(nowhere, printed.fileno())


class _WithoutPandas(MetaPathFinder):
    """An import hook that hides pandas.

    pyarrow would import it where it is installed, which costs a second of CPU time and 50 MB for no use here.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _die_with_the_service() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
