"""The process that writes one file, as `python -m shotwatch_query.exports`.

It reads a line of JSON and an NPZ file from standard input, and writes the file to standard output. If no
file can be made of this content, it writes the reason there, and ends with status 3.
"""

import io
import os
import resource
import sys

import numpy as np
from pydantic import TypeAdapter

from shotwatch_query.exports.contents import AnyContent, Arrays, CannotBeMade, ExportedPulse, ExportedShot
from shotwatch_query.exports.process import CANNOT_BE_MADE, CPU_S, MEMORY_BYTES


def main() -> int:
    """Write the file, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries that print must not disturb the file
    content: AnyContent = TypeAdapter(AnyContent).validate_json(sys.stdin.buffer.readline())
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as stored:
        arrays = dict(stored)
    with file:
        try:
            file.write(_file_of(content, arrays))
        except CannotBeMade as error:
            file.write(str(error).encode())
            return CANNOT_BE_MADE
    return 0


def _file_of(content: AnyContent, arrays: Arrays) -> bytes:
    """Return the file; only the library for this form is imported."""
    if isinstance(content, ExportedPulse):
        from shotwatch_query.exports.pulses import pulse_file

        return pulse_file(content, arrays)
    if isinstance(content, ExportedShot):
        from shotwatch_query.exports.nexus import nexus_file

        return nexus_file(content, arrays)
    from shotwatch_query.exports.frames import frames_file

    return frames_file(content, arrays)


if __name__ == "__main__":
    sys.exit(main())
