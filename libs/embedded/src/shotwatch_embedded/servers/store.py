"""`rclone serve s3`: an S3 server whose objects are plain files."""

import shutil
import sys
from functools import partial
from pathlib import Path

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_embedded.servers.activation import activated

ETAG_HASH = "xxh128"
"""The hash of which etags are made. rclone computes it when it first reports an etag, ten times as fast as
MD5.
"""
_ETAG_HASH_BEFORE = "md5"
"""That of stores that were made without a note of it (ADR 67)."""

BUCKETS = ("inbox", "data", "errors", "blocks", "datasets", "tables")


def store(folder: Path, access_key: str, secret_key: str, ports: Ports, prefix: str = "") -> Server:
    """Return the server, with its buckets created.

    The checksum options turn off a comparison of rclone's own disk with itself. It takes half of the work: by
    default, rclone hashes everything twice more when it writes, and again each time it reads.
    """
    objects = folder / "buckets"
    etag_hash = _etag_hash(folder / "etag-hash", objects)
    objects.mkdir(parents=True, exist_ok=True)
    port = ports.take()
    url = f"http://{LOOPBACK}:{port}"
    buckets = tuple(prefix + name for name in BUCKETS)
    return Server(
        name="store",
        command=activated(
            LOOPBACK,
            port,
            (
                *(_executable(), "serve", "s3", str(objects)),
                *("--config", str(folder / "rclone.conf")),
                *("--ignore-checksum", "--no-checksum"),
                *("--etag-hash", etag_hash),
            ),
        ),
        # Passed in the environment, because every user of the machine can read a command line.
        environment=server_environment() | {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'},
        folder=folder,
        port=port,
        probe=partial(probes.has_buckets, url, access_key, secret_key, buckets),
        settings={
            "SHOTWATCH_STORE_URL": url,
            "SHOTWATCH_STORE_ACCESS_KEY": access_key,
            "SHOTWATCH_STORE_SECRET_KEY": secret_key,
        },
    )


def _etag_hash(note: Path, objects: Path) -> str:
    """Return the hash for the etags of a store's objects: the ledger knows each object by its etag."""
    if not objects.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(ETAG_HASH)
    return note.read_text() if note.exists() else _ETAG_HASH_BEFORE


def _executable() -> str:
    """Return rclone from the environment of this Python, otherwise from the path."""
    beside_us = Path(sys.executable).with_name("rclone")
    return str(beside_us) if beside_us.exists() else shutil.which("rclone") or "rclone"
