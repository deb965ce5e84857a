"""Read recorded image files of unknown origin, in a disposable process that a damaged file may crash."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

from shotwatch_common.printable import printable
from shotwatch_simulator.images import SECONDS_PER_FILE, NotAnImage, Picture

SUFFIXES = (".png", ".pgm", ".tif", ".tiff", ".npy", ".mat")

_COMMAND = (sys.executable, "-P", "-m", "shotwatch_simulator.image_decoder")
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
"""Variables of our environment that the decoder gets. None of them is secret."""
_ENVIRONMENT = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
"""The first variable keeps HDF5 from loading plugins, whatever filter a file requests."""


class UnreadableImage(ValueError):
    """A file has no readable image. `reason` is the cause, in one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{printable(str(path))}: no image that can be read: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The images of a file, in order."""

    path: Path
    images: list[Picture]


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file of a folder that is not read, and the reason."""

    name: str
    reason: str


def read_recorded(paths: Iterable[Path]) -> Iterator[ImageFile | SkippedFile]:
    """Read files, and the files of folders in natural order. Skip files of folders that hold no image.

    Raises:
        UnreadableImage: a file that was given directly has no image, or a folder cannot be listed.
    """
    for path in paths:
        if path.is_dir():
            yield from map(_read_or_skip, _files_of(path))
        else:
            yield ImageFile(path, read_images(path))


def read_images(path: Path) -> list[Picture]:
    """Return the images of a file, each (height, width); `images` and `image_decoder` define the rules.

    Raises:
        UnreadableImage: the file has another format, holds no image, is damaged, or exceeds a limit.
    """
    try:
        is_file = path.is_file()
    except OSError as error:
        raise UnreadableImage(path, str(error)) from error
    if not is_file:
        raise UnreadableImage(path, "it is not a file")
    if path.suffix.lower() not in SUFFIXES:
        raise UnreadableImage(path, f"its name does not end in {', '.join(SUFFIXES)}")
    try:
        return _DECODER.decode(path)
    except NotAnImage as error:
        raise UnreadableImage(path, str(error)) from error


def _files_of(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=_natural_order)
    except OSError as error:
        raise UnreadableImage(folder, str(error)) from error


def _read_or_skip(path: Path) -> ImageFile | SkippedFile:
    try:
        return ImageFile(path, read_images(path))
    except UnreadableImage as error:
        return SkippedFile(printable(path.name), error.reason)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a sort key in which numbers in names count as numbers: frame-9 comes before frame-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


class _Decoder:
    """A process that decodes one file after the other. It starts when needed, and ends with its input."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path) -> list[Picture]:
        """Return the images of a file.

        A process that refused one is replaced, because its memory may be damaged.

        Raises:
            NotAnImage: the process refused the file, or crashed on it.
        """
        with self._lock:
            process, self._idle = self._idle or _start(), None
            try:
                images = _exchange(process, path)
            except NotAnImage:
                _end(process)
                raise
            except (EOFError, BrokenPipeError) as error:
                raise NotAnImage(_cause_of_death(_end(process))) from error
            self._idle = process
            return images


_DECODER = _Decoder()


def _start() -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ENVIRONMENT
    return subprocess.Popen(  # noqa: S603  our own command
        _COMMAND, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _exchange(process: subprocess.Popen[bytes], path: Path) -> list[Picture]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
    process.stdin.flush()
    answer = json.loads(_all(process.stdout.readline()))
    if "refused" in answer:
        raise NotAnImage(answer["refused"])
    return [_receive(process.stdout, *frame) for frame in answer["frames"]]


def _receive(answers: IO[bytes], height: int, width: int, dtype: str) -> Picture:
    size = height * width * np.dtype(dtype).itemsize
    return np.frombuffer(_all(answers.read(size), size), dtype).reshape(height, width)


def _all(received: bytes, size: int = 1) -> bytes:
    """Return what was received.

    Raises:
        EOFError: it is less than `size` bytes, so the process has died.
    """
    if len(received) < size:
        raise EOFError
    return received


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a process, close its pipes, and return its exit code."""
    process.kill()
    with process:
        return process.wait()


def _cause_of_death(code: int) -> str:
    if code == -signal.SIGALRM:
        return f"it takes longer than {SECONDS_PER_FILE} s"
    return f"it crashes its reader, {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
