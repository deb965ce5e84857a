"""The broker in tests: its queues, and on an embedded stack an account that may do anything."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from yarl import URL

from shotwatch_common.broker_connection import connection_to
from shotwatch_common.topology import Topology
from shotwatch_embedded.private import private_files
from shotwatch_embedded.servers import Server
from shotwatch_embedded.servers.broker import broker
from shotwatch_operations.broker.accounts import password_hash
from tests.ports import PORTS

TOPOLOGY = Topology()
_TESTER, _PASSWORD = "tester", "tests"
_EVERYTHING = dict.fromkeys(("configure", "write", "read"), ".*")


def admit_tester(folder: Path) -> None:
    """Have a broker that starts in this folder import an account for tests."""
    definitions = folder / "definitions" / "tests.json"
    algorithm = "rabbit_password_hashing_sha256"
    hashed = {"password_hash": password_hash(_PASSWORD), "hashing_algorithm": algorithm}
    user = {"name": _TESTER, **hashed, "tags": []}
    permission = {"user": _TESTER, "vhost": "/", **_EVERYTHING}
    with private_files():
        definitions.parent.mkdir(parents=True, exist_ok=True)
        definitions.write_text(json.dumps({"users": [user], "permissions": [permission]}))


def controllable_broker(*arguments: Any, **options: Any) -> Server:
    """Return an embedded broker that `rabbitmqctl` can reach; otherwise none listens to other nodes."""
    server = broker(*arguments, **options)
    environment, port = dict(server.environment), PORTS.take()
    environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += (
        " inet_dist_use_interface {127,0,0,1} -dist_listen true"
    )
    flags = environment["ERL_FLAGS"]
    environment["ERL_FLAGS"] = flags.replace("-erl_epmd_port 1", f"-erl_epmd_port {port}")
    return replace(server, environment=environment)


def as_tester(address: str) -> str:
    """Return the address of a broker with the tests' account in it."""
    return str(URL(address).with_user(_TESTER).with_password(_PASSWORD))


async def log_in(address: str) -> None:
    """Open a connection and close it, for the errors that this may raise."""
    async with connection_to(address):
        pass
