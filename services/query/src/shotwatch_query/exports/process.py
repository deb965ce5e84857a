"""The start of the process that writes an exported file, and the limits on it."""

import asyncio
import io
import os
import sys
from asyncio.subprocess import PIPE, Process
from importlib.util import find_spec

import numpy as np

from shotwatch_query.errors import BadRequest, NotInstalled, Unavailable
from shotwatch_query.exports.contents import AnyContent, Arrays

MEMORY_BYTES = 768 * 2**20
"""Maximum memory of the process: LASY takes 350 MiB."""
CPU_S = 30
"""Maximum CPU time of the process, in seconds: LASY takes about two."""
WALL_S = 120.0
CANNOT_BE_MADE = 3
"""Exit status if no such file can be made of the content; the output is the reason."""
HDF5 = "application/x-hdf5"
"""The media type of all files that it writes."""
_PACKAGES = {"nexus": ("h5py",), "frames": ("h5py",), "pulse": ("h5py", "lasy")}
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG")
"""What the process needs of the environment; it gets no secrets."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def require_installed(form: str) -> None:
    """Require the packages that write files of this form.

    Raises:
        NotInstalled: one is absent; the message names what to install.
    """
    absent = [name for name in _PACKAGES[form] if find_spec(name) is None]
    if absent:
        lacks = f"the query service lacks {' and '.join(absent)}"
        raise NotInstalled(f"{lacks}: install shotwatch-query[exports] (docs/deploy.md)")


async def written(turn: asyncio.Lock, content: AnyContent, arrays: Arrays) -> bytes:
    """Return the file of this content; one is written at a time.

    Raises:
        BadRequest: no such file can be made of it; the message gives the reason.
        Unavailable: the process exceeded a limit.
    """
    async with turn:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "shotwatch_query.exports"),
            env={**{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}, **_ONE_THREAD},
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            async with asyncio.timeout(WALL_S):
                file, complaint = await process.communicate(_request(content, arrays))
        except TimeoutError as error:
            raise Unavailable(f"the file was not written within {WALL_S:.0f} s: ask again later") from error
        finally:
            await _end(process)
    if process.returncode == CANNOT_BE_MADE:
        raise BadRequest(file.decode())
    if process.returncode:
        reason = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the process that writes files ended with {process.returncode}: {reason}")
    return file


def _request(content: AnyContent, arrays: Arrays) -> bytes:
    request = io.BytesIO()
    request.write(content.model_dump_json().encode() + b"\n")
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    return request.getvalue() + packed.getvalue()


async def _end(process: Process) -> None:
    """Kill the process if it still runs: the caller has gone, or it took too long."""
    if process.returncode is None:
        process.kill()
        await process.wait()
