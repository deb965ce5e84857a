"""SecantusDB, a server that speaks MongoDB's wire protocol."""

import sys
from functools import partial
from pathlib import Path

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment


def database(folder: Path, ports: Ports) -> Server:
    """The server with sync on commit: without it a kill loses acknowledged writes.

    Clients do not retry writes by themselves: of each one that could be retried the server keeps a record for
    half an hour, and looks through all of them at each write (0.9 ms of CPU a write, 11 ms after 10,000).
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "secantusd.toml"
    configuration.touch()  # empty: else it looks for one in the home folder and in /etc
    port = ports.take()
    url = f"mongodb://{LOOPBACK}:{port}/?retryWrites=false"
    return Server(
        name="database",
        command=(
            *(sys.executable, "-m", "secantus"),
            *("--config", str(configuration)),
            *("--storage-path", str(folder / "data")),
            *("--host", LOOPBACK, "--port", str(port)),
            *("--cache-size", "256M"),
            "--sync-on-commit",
        ),
        environment=server_environment(),
        folder=folder,
        port=port,
        probe=partial(probes.writes_document, url),
        settings={"SHOTWATCH_DATABASE_URL": url},
    )
