"""Another user of this machine."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

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
"""Says in which ways it could listen: host, port, SO_REUSEADDR, SO_REUSEPORT."""


def require_a_stranger() -> None:
    """Skip the test where we cannot act as another user."""
    if os.geteuid() != 0:
        pytest.skip("acting as another user takes root")


def readable_by_a_stranger(folder: Path) -> list[str]:
    """Return what another user can open below the folder."""
    return _said_by_a_stranger([shutil.which("find") or "find", str(folder), "-readable"])


def bound_by_a_stranger(*ports: int) -> list[str]:
    """Return on which of the ports another user can listen once nobody does, and how."""
    return _said_by_a_stranger([_PYTHON, "-c", _SQUATTER, *map(str, ports)])


def _said_by_a_stranger(command: Sequence[str]) -> list[str]:
    require_a_stranger()
    account = pwd.getpwnam(STRANGER)
    done = subprocess.run(
        command,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def open_to_others(folder: Path) -> list[str]:
    """Return what below the folder has any right for group or others, links aside."""
    return [
        f"{path.stat().st_mode & 0o777:o} {path}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & 0o077
    ]
