"""Another user of this machine."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STRANGER = "nobody"
_PYTHON = shutil.which("python3", path=os.defpath) or "python3"
"""That of the tests may lie in a folder which is closed to others."""
_SQUATTER = """
import itertools, socket, sys

def refused(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0

hosts = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
flags = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
for port in map(int, sys.argv[1:]):
    while not refused(port):
        pass
    for (family, host), *given in itertools.product(hosts, (0, 1), (0, 1)):
        with socket.socket(family) as squatter:
            for flag, value in zip(flags, given):
                squatter.setsockopt(socket.SOL_SOCKET, flag, value)
            try:
                squatter.bind((host, port))
                squatter.listen()
            except OSError:
                continue
            print(host, port, *given, flush=True)
"""
"""Print in which ways it could listen: host, port, SO_REUSEADDR, SO_REUSEPORT."""
_REGISTRAR = """
import socket, struct, sys

name = sys.argv[1].encode()
node = struct.pack("!cHBBHHH", b"x", 1, 77, 0, 6, 5, len(name)) + name + bytes(2)
held = []
for port in map(int, sys.argv[2:]):
    try:
        server = socket.create_connection(("127.0.0.1", port), timeout=1)
        server.sendall(struct.pack("!H", len(node)) + node)
        answer = server.recv(2)
    except OSError:
        continue
    if answer in (bytes([121, 0]), bytes([118, 0])):
        held.append(server)
print(len(held), flush=True)
sys.stdin.read()
"""
"""Registers a node at each epmd among the ports (ALIVE2_REQ), prints at how many, and stays registered."""


def require_a_stranger() -> None:
    """Skip the test where we cannot act as another user."""
    if os.geteuid() != 0:
        pytest.skip("acting as another user takes root")


def readable_by_a_stranger(folder: Path) -> list[str]:
    """Return what another user can open below the folder."""
    return _stated_by_a_stranger([shutil.which("find") or "find", str(folder), "-readable"])


def bound_by_a_stranger(*ports: int) -> list[str]:
    """Return on which of the ports another user can listen once nobody does, and how."""
    return _stated_by_a_stranger([_PYTHON, "-c", _SQUATTER, *map(str, ports)])


@contextmanager
def registered_by_a_stranger(node: str, ports: Iterable[int]) -> Iterator[int]:
    """Another program holds the name of an Erlang node at each epmd among the ports; yield at how many.

    It belongs to another user where we can act as one: epmd treats all programs of the machine alike.
    """
    command = [_PYTHON, "-c", _REGISTRAR, node, *map(str, ports)]
    user = _as_a_stranger() if os.geteuid() == 0 else {}
    with subprocess.Popen(
        command, **user, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as registrar:
        assert registrar.stdout is not None
        yield int(registrar.stdout.readline())


def _stated_by_a_stranger(command: Sequence[str]) -> list[str]:
    require_a_stranger()
    done = subprocess.run(command, **_as_a_stranger(), stdout=subprocess.PIPE, text=True, timeout=60)
    return done.stdout.splitlines()


def _as_a_stranger() -> dict[str, Any]:
    account = pwd.getpwnam(STRANGER)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def open_to_others(folder: Path) -> list[str]:
    """Return what below the folder has any right for group or others, links aside."""
    return [
        f"{path.stat().st_mode & 0o777:o} {path}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & 0o077
    ]
