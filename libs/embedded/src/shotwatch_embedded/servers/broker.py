"""RabbitMQ as a private node: own ports, folders, and the accounts of a deployment."""

import hmac
import json
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from shotwatch_common.topology import Topology
from shotwatch_embedded.credentials import write_private
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_operations.broker.accounts import ENGINEER, accounts_of, definitions

SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server itself; the script in /usr/sbin would switch to the system's user."""

_VIRTUAL_HOST = "/"
_DEFINITIONS = "definitions"
_NODE = "shotwatch@localhost"
_CONFIGURATION = """\
listeners.tcp.default = {host}:{port}
load_definitions = {definitions}
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 200MB
# what the log of the queues takes on disk, it takes in memory as well: by default up to 512 MB
raft.wal_max_size_bytes = 33554432
# the default of RabbitMQ 4; that of 3.10 is 128 MiB
max_message_size = 16777216
log.file = false
log.console = true
log.console.level = info
# used once rabbitmq_management stands in enabled_plugins
management.tcp.ip = {host}
management.tcp.port = {management_port}
"""
_REUSE_PORT = f"{{raw,{socket.SOL_SOCKET},{socket.SO_REUSEPORT},<<1:32/native>>}}"
_SERVER_ARGUMENTS = (
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
    f" -sname {_NODE} -kernel inet_default_listen_options [{_REUSE_PORT}]"
)
"""Two schedulers that never spin, so that an idle node costs little. The node has its name from the start:
RabbitMQ would first ask epmd whether the name is taken (`rabbit_prelaunch_dist`). SO_REUSEPORT on every
listening socket, because the stack keeps the ports bound; the raw form is used because Erlang has a name for
this option only from OTP 26 on.
"""
_ALL_ARGUMENTS = "-start_epmd false -erl_epmd_port 1 -dist_listen false"
"""Arguments of each Erlang node with this environment: the server, and a short-lived node that the server
starts once a minute, meant to start epmd (`rabbit_epmd_monitor`). They start no epmd, and listen to no other
node, nor to `rabbitmqctl`: anybody who reaches the port for nodes can end the server with one packet, because
Erlang (OTP 25) makes an atom of the name that a stranger gives. RabbitMQ asks for that port at its start, and
needs any answer.
"""
_NO_EPMD = "0"
"""Port of epmd. Nobody can listen on port 0; on the default port, another user could."""


def broker(folder: Path, secret: str, ports: Ports, prefix: str = "") -> Server:
    """Return the RabbitMQ node. Its plugins are those in `enabled_plugins` in its folder; none at first.

    The accounts are those of a deployment, with passwords derived from the secret. The node imports them at
    each start. The command line gets the engineer's account.
    """
    port, management_port = ports.take(), ports.take()
    topology, passwords = Topology(prefix), _passwords(secret)
    _configure(folder, port, management_port)
    _write_definitions(folder, definitions(passwords, topology, _VIRTUAL_HOST))
    urls = {
        name: f"amqp://{prefix}{name}:{password}@{LOOPBACK}:{port}/" for name, password in passwords.items()
    }
    return Server(
        name="broker",
        command=(str(SCRIPT),),
        environment=server_environment() | _node_environment(folder),
        folder=folder,
        port=port,
        probe=partial(probes.opens_channel, urls[ENGINEER]),
        settings={"SHOTWATCH_BROKER_URL": urls[ENGINEER]},
        accounts={name: {"SHOTWATCH_BROKER_URL": url} for name, url in urls.items()},
    )


def _passwords(secret: str) -> dict[str, str]:
    """Return account → password."""
    names = [account.name for account in accounts_of(Topology())]
    return {name: _derived(secret, name) for name in names}


def _derived(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), "sha256").hexdigest()


def _configure(folder: Path, port: int, management_port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        _CONFIGURATION.format(
            host=LOOPBACK, port=port, management_port=management_port, definitions=folder / _DEFINITIONS
        )
    )
    plugins = folder / "enabled_plugins"
    if not plugins.exists():
        plugins.write_text("[].\n")


def _write_definitions(folder: Path, content: Mapping[str, Any]) -> None:
    """Write our definitions into the folder from which the node imports definitions."""
    path = folder / _DEFINITIONS / "shotwatch.json"
    path.parent.mkdir(exist_ok=True)
    write_private(path, json.dumps(content, indent=2))


def _node_environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "ERL_EPMD_PORT": _NO_EPMD,
        "ERL_FLAGS": _ALL_ARGUMENTS,
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _SERVER_ARGUMENTS,
    }
