"""Another user of this machine, as far as files go."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

STRANGER = "nobody"


def readable_by_a_stranger(folder: Path) -> list[str]:
    """Return what another user can open below the folder; the test is skipped where we cannot act as one."""
    if os.geteuid() != 0:
        pytest.skip("acting as another user takes root")
    account = pwd.getpwnam(STRANGER)
    found = subprocess.run(
        [shutil.which("find") or "find", folder, "-readable"],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
    )
    return found.stdout.splitlines()


def open_to_others(folder: Path) -> list[str]:
    """Return what below the folder has any right for group or others, links aside."""
    return [
        f"{path.stat().st_mode & 0o777:o} {path}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & 0o077
    ]
