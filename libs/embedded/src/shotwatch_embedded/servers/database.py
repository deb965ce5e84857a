"""SecantusDB, a server that speaks MongoDB's wire protocol."""

import sys
from functools import partial
from pathlib import Path

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment

_USER = "shotwatch"


def database(folder: Path, password: str, ports: Ports) -> Server:
    """Return the server with one account, and with sync on commit.

    Without sync on commit, a kill loses acknowledged writes.

    Retryable writes are turned off in the clients. For each of them the server keeps a record for half an
    hour, and searches all records at each write (0.9 ms of CPU per write, 11 ms after 10,000).
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = ports.take()
    url = f"mongodb://{_USER}:{password}@{LOOPBACK}:{port}/?retryWrites=false"
    return Server(
        name="database",
        command=(
            *(sys.executable, "-P", "-m", "shotwatch_embedded.servers.secantus_server"),
            *("--user", _USER, "--storage-path", str(folder / "data")),
            *("--host", LOOPBACK, "--port", str(port)),
        ),
        # Passed in the environment, because every user of the machine can read a command line.
        environment=server_environment() | {"SECANTUS_PASSWORD": password},
        folder=folder,
        port=port,
        probe=partial(probes.writes_document, url),
        settings={"SHOTWATCH_DATABASE_URL": url},
    )
