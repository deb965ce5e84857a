"""`rclone serve s3`: an S3 server whose objects are plain files."""

import shutil
import sys
from functools import partial
from pathlib import Path

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_embedded.servers.activation import activated

BUCKETS = ("inbox", "data", "errors", "blocks", "datasets", "tables")


def store(folder: Path, access_key: str, secret_key: str, ports: Ports, prefix: str = "") -> Server:
    """Return the server, with its buckets created.

    The checksum options turn off a comparison of rclone's own disk with itself. It takes half of the work: by
    default, rclone hashes everything twice more when it writes, and again each time it reads.
    """
    objects = folder / "buckets"
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


def _executable() -> str:
    """Return rclone from the environment of this Python, otherwise from the path."""
    beside_us = Path(sys.executable).with_name("rclone")
    return str(beside_us) if beside_us.exists() else shutil.which("rclone") or "rclone"
