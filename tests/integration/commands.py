"""Commands of `shotwatch`, each in a process that is forked from one that has imported the command line.

The import takes 2 s of CPU, and the tests give about a hundred commands.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

_MAX_BYTES = 1 << 17
"""Of a request: the arguments and the environment."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a command."""

    exit_code: int | None
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class CommandServer:
    """The process that forks commands, one after the other. It starts with the first of them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Prepare a server; `environment` is that of its process, which acts when the interpreter starts."""
        self._environment = environment
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._channel is not None and self._process is not None:
            self._channel.close()
            self._process.wait()

    def _start(self) -> socket.socket:
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.setblocking(False)
        command = [sys.executable, "-P", __file__]
        with theirs:
            self._process = subprocess.Popen(command, env=self._environment, stdin=theirs.fileno())
        return channel

    async def run(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> Result:
        """Wait for a command in this environment, without any input; end it if nobody waits any more."""
        self._channel = channel = self._channel or self._start()
        request = json.dumps([arguments, dict(environment)]).encode()
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        answers.setblocking(False)
        with answers, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with theirs:
                socket.send_fds(channel, [request], [stdout.fileno(), stderr.fileno(), theirs.fileno()])
            pid = await _number(answers)
            try:
                exit_code = await _number(answers)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
            return Result(exit_code, _content(stdout), _content(stderr))


async def _number(answers: socket.socket) -> int:
    answer = await asyncio.get_running_loop().sock_recv(answers, 32)
    assert answer, "the process that forks commands has ended"
    return int(answer)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _serve() -> None:
    """Run a command for each request: answer its process id, then its exit code (negative: a signal)."""
    from shotwatch_cli.main import app

    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a fork would lack the other threads"
    gc.freeze()  # a collection would write to every object, and so copy every page
    channel = socket.socket(fileno=sys.stdin.fileno())
    while files := (received := socket.recv_fds(channel, _MAX_BYTES, 3))[1]:
        *outputs, answers = files
        if (pid := os.fork()) == 0:
            channel.detach()  # its number is that of standard input, which is replaced
            os.close(answers)
            arguments, environment = json.loads(received[0])
            _become(outputs, environment)
            sys.argv = ["shotwatch", *arguments]
            sys.exit(app())
        for file in outputs:
            os.close(file)
        with socket.socket(fileno=answers) as to, suppress(BrokenPipeError):
            to.send(str(pid).encode())
            _, status = os.waitpid(pid, 0)
            to.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(outputs: list[int], environment: Mapping[str, str]) -> None:
    """Give this process these outputs, no input, and this environment."""
    for file, number in zip((os.open(os.devnull, os.O_RDONLY), *outputs), range(3), strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)


if __name__ == "__main__":
    _serve()
