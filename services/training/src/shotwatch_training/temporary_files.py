"""Temporary files in a folder of this process alone, for programs that use TensorFlow.

TensorFlow's AutoGraph writes Python modules into the folder for temporary files. It imports them with the
bytecode that it finds in the folder `__pycache__` beside them. In `/tmp`, another user can make that folder
first, and put bytecode there as soon as a module appears.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_temporary_files() -> Iterator[None]:
    """Write temporary files to a new folder of mode 0700, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="shotwatch-training-") as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            tempfile.tempdir = before
