"""A process that has imported what all services share, and forks a service on request.

    python -P -m shotwatch_embedded.fork_server

Standard input is a socket of `shotwatch_embedded.forks`. Each message has three files: a `Request`, the log
of the service, and a pipe for `pid N` and, at its end, `exit N`. The process ends when the socket is closed.

A fork copies one thread only, so the shared imports must start no thread, and open no file. docs/adr/0042
explains what else a service must not inherit.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Self

SHARED = ("shotwatch_common.process", "shotwatch_physics")
"""Modules that all services import, or most of them. The second is Numba, with our settings."""
_MAX_REQUEST_FILES = 3
_ARGUMENTS_BEGIN, _ARGUMENTS_END = 45, 46
"""Fields of /proc/self/stat after the name: the memory with the command line (proc(5), fields 48 and 49)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A service to fork: what `python -P -m MODULE` would be started with."""

    module: str
    folder: str
    """Its working directory."""
    environment: Mapping[str, str]

    def write(self) -> int:
        """Return a file in memory with the request; the caller closes it."""
        file = os.memfd_create("request")
        with open(file, "w", closefd=False) as text:
            json.dump(asdict(self), text)
        return file

    @classmethod
    def read(cls, file: int) -> Self:
        """Return the request in a file, and close the file."""
        with open(file) as text:
            text.seek(0)
            return cls(**json.load(text))


def main() -> None:
    """Start services until the socket is closed; in each fork, run the service."""
    gc.disable()  # garbage that is collected before the fork leaves holes, which later copy whole pages
    for shared in SHARED:
        importlib.import_module(shared)
    gc.freeze()  # a collection would write to every object, and so copy every page
    module = _serve(socket.socket(fileno=sys.stdin.fileno()))
    if module is not None:
        gc.enable()
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _serve(supervisor: socket.socket) -> str | None:
    """Start a fork for each request.

    Return the module to run in a fork, and None in the server once the socket is closed.
    """
    pipes: dict[int, int] = {}

    def report_ends(_number: int, _frame: FrameType | None) -> None:
        with suppress(ChildProcessError):  # no child is left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                _report(pipes.pop(pid), f"exit {os.waitstatus_to_exitcode(status)}")

    signal.signal(signal.SIGCHLD, report_ends)
    while files := socket.recv_fds(supervisor, 1, _MAX_REQUEST_FILES)[1]:
        request, log, pipe = files
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the pipe of the fork is known
        pid = os.fork()
        if pid == 0:
            supervisor.detach()  # its number is that of standard input, which is replaced
            for other in pipes.values():
                os.close(other)
            return _become(Request.read(request), log, pipe)
        pipes[pid] = pipe
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.close(request)
        os.close(log)
    return None


def _report(pipe: int, line: str) -> None:
    """Write the last line to a pipe and close it."""
    with suppress(BrokenPipeError), open(pipe, "w") as file:
        file.write(f"{line}\n")


def _become(request: Request, log: int, pipe: int) -> str:
    """Make a fork what the request describes, and return the module to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.setsid()
    _report(pipe, f"pid {os.getpid()}")
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (os.dup(log), 1), (log, 2)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    _rename(f"{sys.executable}\0-P\0-m\0{request.module}\0".encode())
    return request.module


def _rename(command: bytes) -> None:
    """Replace the command line that `ps` shows. It is shorter than ours, whose memory it takes."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[_ARGUMENTS_BEGIN]), int(fields[_ARGUMENTS_END])
    ctypes.memmove(begin, command[: end - begin].ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    main()
