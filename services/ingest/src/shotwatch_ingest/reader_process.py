"""The reader: a disposable process that opens files of unknown origin, one after the other.

It is told no secret, takes no more memory than it may, opens nothing but the file it is given, and can be
killed at any moment. `reader.ReaderPool` starts it: `python -m shotwatch_ingest.reader_process`.
"""

import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, BinaryIO

from shotwatch_common.blocks import write_block
from shotwatch_common.errors import Reject
from shotwatch_common.facility import Facility
from shotwatch_common.printable import printable
from shotwatch_common.vocabulary import FileReason
from shotwatch_ingest.domain.snapshot import Snapshot, read_snapshot
from shotwatch_ingest.reader_messages import (
    FRAME_HEADER_BYTES,
    MAX_REPLY_BYTES,
    Failed,
    Outcome,
    ReadFile,
    Rejected,
    Request,
    framed,
    read_device,
    read_file,
)

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until the input ends. The first message is the facility and the memory limit."""
    _die_with_the_service()
    requests, replies = sys.stdin.buffer, _private_output()
    facility, memory_bytes = _received(requests)
    _limit(memory_bytes)
    sys.meta_path.insert(0, _WithoutPandas())
    replies.write(framed(b""))
    replies.flush()
    while request := _received(requests):
        replies.write(framed(_reply(request, facility)))
        replies.flush()


def _reply(request: Request, facility: Facility) -> bytes:
    reply = _outcome(request, facility).model_dump_json().encode()
    if len(reply) <= MAX_REPLY_BYTES:
        return reply
    too_large = Rejected(
        reason=FileReason.TOO_LARGE,
        detail=f"{request[2]}: its records take {len(reply)} bytes in a message, more than one may have",
    )
    return too_large.model_dump_json().encode()


def _outcome(request: Request, facility: Facility) -> Outcome:
    path, name, key, latest_ms = request
    try:
        snapshot = read_snapshot(key, path.read_bytes(), name, facility, latest_ms)
        return _stored(snapshot, path.parent)
    except Reject as reject:
        return Rejected(reason=reject.reason, detail=printable(reject.detail))
    except MemoryError:
        return Failed(cause="memory", detail="needs more memory than a reader may take")
    except OSError as error:
        return Failed(cause="scratch", detail=str(error))
    except Exception:  # noqa: BLE001  the edge of this process
        return Failed(cause="bug", detail=traceback.format_exc())


def _stored(snapshot: Snapshot, folder: Path) -> ReadFile:
    devices = []
    for n, device in enumerate(snapshot.devices):
        block_file = folder / f"{n}.arrow"
        block_file.write_bytes(write_block(device.block))
        devices.append(read_device(device, snapshot.interval, block_file))
    return read_file(snapshot, devices)


def _received(requests: BinaryIO) -> Any:
    """The next message of the service; None at the end of the input."""
    length = int.from_bytes(requests.read(FRAME_HEADER_BYTES), "little")
    return pickle.loads(requests.read(length)) if length else None  # noqa: S301  the service wrote it


def _private_output() -> BinaryIO:
    """The way to the service, out of reach of libraries that print."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


class _WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas where it is installed: a second of CPU and 50 MB, for nothing here."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _die_with_the_service() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
