"""The etags that the embedded store reports."""

import subprocess
import sys
from pathlib import Path

from shotwatch_embedded.servers.store import ETAG_HASH


def etag_of(content: bytes) -> str:
    """Return the etag of an object with this content, as rclone's command for checksums computes it."""
    command = (str(Path(sys.executable).with_name("rclone")), "hashsum", ETAG_HASH, "-")
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.split()[0].decode()
