"""The rights of the broker's accounts, as RabbitMQ's definitions. Everything else is refused.

`python -m shotwatch_operations.broker.accounts FOLDER` writes the definitions to standard output: the virtual
host, accounts, permissions, policies and limits. A node imports them when it starts (`load_definitions`) or
with `rabbitmqctl import_definitions`. The password of each account is in the file `broker-{account}-password`
of the folder. SHOTWATCH_PREFIX is the prefix of all names, including those of the accounts.

RabbitMQ checks these rights (https://www.rabbitmq.com/docs/access-control):

- configure: declare or delete an exchange or a queue. No right is needed to check whether one exists, or how
  many messages a queue has;
- write: publish to an exchange; together with read on an exchange, bind a queue to that exchange, or unbind
  it;
- read: consume from a queue, or purge it; bind to an exchange, or unbind from it.

On a topic exchange it also compares a message's routing key with the account's pattern for that exchange.
"""

import base64
import hashlib
import json
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shotwatch_common.command_line import exit_status
from shotwatch_common.services import SERVICES, ServiceEntry
from shotwatch_common.settings import SettingsError, SystemSettings
from shotwatch_common.topology import STAGES, STORE_EXCHANGE, Topology
from shotwatch_operations.account_secrets import read_secret
from shotwatch_shots.vocabulary import AnomalyKind, Severity

VIRTUAL_HOST = "shotwatch"
DELIVERIES = 20
"""A message is dead-lettered after it has been delivered this often without being settled."""

SETUP, STORE, MONITOR, OPERATOR, ENGINEER = "setup", "store", "monitor", "operator", "engineer"

MAX_CONNECTIONS = 500
"""Limit for all accounts together."""
ACCOUNT_LIMITS = {"max-connections": 64, "max-channels": 512}
"""A service uses one connection and a few channels per replica."""
OPERATOR_LIMITS = {"max-connections": 20, "max-channels": 20}
"""A subscriber uses one of each. `tools/bench/readers.py` measures what subscribers can cost the broker."""


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """An account, with the patterns of the names that it may configure, write and read."""

    name: str
    holder: str
    """Who uses the account, and for what."""
    configure: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    routing_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Topic exchange → patterns of the routing keys with which the account may publish there."""
    tags: tuple[str, ...] = ()
    """What the account may do in RabbitMQ's management API."""
    limits: Mapping[str, int] = field(default_factory=ACCOUNT_LIMITS.copy)


def accounts_of(topology: Topology) -> tuple[BrokerAccount, ...]:
    """Return every account of one system, in the order of the documentation."""
    services = (_service(each, topology) for each in SERVICES if each.on_broker)
    return (_setup(topology), *services, *_others(topology))


def definitions(
    passwords: Mapping[str, str], topology: Topology, virtual_host: str = VIRTUAL_HOST
) -> dict[str, object]:
    """Return the definitions that a node imports.

    Args:
        passwords: by account name, without prefix.

    Raises:
        KeyError: an account has no password.
    """
    here = {"vhost": virtual_host}
    accounts, prefix = accounts_of(topology), topology.prefix
    return {
        "vhosts": [{"name": virtual_host}],
        "users": [_user(each, prefix, passwords[each.name]) for each in accounts],
        "permissions": [
            {
                "user": prefix + each.name,
                **here,
                "configure": any_of(each.configure),
                "write": any_of(each.write),
                "read": any_of(each.read),
            }
            for each in accounts
        ],
        "topic_permissions": [
            {"user": prefix + each.name, **here, "exchange": name, "write": any_of(keys), "read": any_of(())}
            for each in accounts
            for name, keys in each.routing_keys.items()
        ],
        "policies": [{**here, **policy} for policy in _dead_letter_policies(topology)],
        "parameters": [
            {
                "component": "vhost-limits",
                "name": "limits",
                **here,
                "value": {"max-connections": MAX_CONNECTIONS},
            }
        ],
    }


def any_of(patterns: Iterable[str]) -> str:
    """Return the expression that matches exactly the names described by one of the patterns.

    Without patterns, it matches only the empty name.
    """
    return f"^({'|'.join(patterns)})$" if patterns else "^$"


def _exactly(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(re.escape, names))


def _setup(topology: Topology) -> BrokerAccount:
    """Return the account that declares exchanges, queues and bindings.

    Declaring a queue with a dead-letter exchange needs the right to read the queue, and to write to that
    exchange.
    """
    exchanges = [each.name for each in topology.exchanges]
    queues = [each.name for each in (*topology.queues, topology.events)]
    waiting = [each.name for each in topology.queues if "x-dead-letter-exchange" in (each.arguments or {})]
    return BrokerAccount(
        SETUP,
        "the set-up, which declares exchanges, queues and bindings; no process that runs",
        configure=_exactly((*exchanges, *queues)),
        write=_exactly((topology.objects.name, *queues, "amq.default")),
        read=_exactly((*exchanges, STORE_EXCHANGE, *waiting)),
    )


def _service(service: ServiceEntry, topology: Topology) -> BrokerAccount:
    stages = service.consumes
    sent = [each.routing() for stage in service.sends_to for each in topology.consumed_queues_of(stage)]
    put_aside = [each.routing() for stage in stages for each in topology.queues_of_failed(stage)]
    work = _exactly((*sent, *put_aside))
    keys = {topology.work.name: work} if work else {}
    if service.announces:
        keys[topology.anomalies.name] = _events(service.announces)
    return BrokerAccount(
        service.name,
        f"the service `{service.name}`",
        write=_exactly(keys),
        read=_exactly(each.name for stage in stages for each in topology.consumed_queues_of(stage)),
        routing_keys=keys,
    )


def _events(kinds: Iterable[AnomalyKind]) -> tuple[str, ...]:
    """Return the pattern of `anomaly.{severity}.{place}.{kind}` for these kinds."""
    return (rf"anomaly\.({'|'.join(Severity)})\..+\.({'|'.join(sorted(kinds))})",)


def _others(topology: Topology) -> tuple[BrokerAccount, ...]:
    objects, work, events = (each.name for each in (topology.objects, topology.work, topology.events))
    dead_letter_queues = (topology.dead_letter_queue_of(stage).name for stage in STAGES)
    return (
        BrokerAccount(
            STORE,
            "the object store, which publishes a notification of each new object",
            configure=_exactly((STORE_EXCHANGE,)),
            write=_exactly((STORE_EXCHANGE,)),
            routing_keys={STORE_EXCHANGE: _exactly((objects,))},
        ),
        BrokerAccount(
            MONITOR,
            "the autoscaler, which reads the lengths of queues over RabbitMQ's management API",
            tags=("management",),
        ),
        BrokerAccount(
            OPERATOR,
            "people and programs that subscribe to anomaly events",
            read=_exactly((events,)),
            limits=OPERATOR_LIMITS,
        ),
        BrokerAccount(
            ENGINEER,
            "the command line: anomaly events; dead-lettered messages, to be read, discarded or requeued",
            write=_exactly((work,)),
            read=_exactly((events, *dead_letter_queues)),
            routing_keys={work: _exactly(topology.queue_of(stage).routing() for stage in STAGES)},
        ),
    )


def _dead_letter_policies(topology: Topology) -> list[dict[str, object]]:
    """Return the policies that dead-letter a message on which every consumer dies.

    RabbitMQ 4 drops a message after 20 deliveries, unless it has a dead-letter exchange.
    """
    return [
        {
            "name": f"{topology.prefix}dead-letter-{stage}",
            "pattern": any_of(_exactly(queue.name for queue in topology.consumed_queues_of(stage))),
            "apply-to": "queues",
            "definition": {
                "delivery-limit": DELIVERIES,
                "dead-letter-exchange": "",
                "dead-letter-routing-key": topology.dead_letter_queue_of(stage).name,
                "dead-letter-strategy": "at-least-once",
                "overflow": "reject-publish",  # required by that strategy
            },
        }
        for stage in STAGES
    ]


def _user(account: BrokerAccount, prefix: str, password: str) -> dict[str, object]:
    return {
        "name": prefix + account.name,
        "password_hash": password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(account.tags),
        "limits": dict(account.limits),
    }


def password_hash(password: str) -> str:
    """Return RabbitMQ's password hash: base64 of a salt (4 bytes) and of SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def read_passwords(folder: Path) -> dict[str, str]:
    """Return account → password, from the files `broker-{account}-password` of a folder.

    Raises:
        SettingsError: the file of an account is missing, empty or unreadable.
    """
    names = (account.name for account in accounts_of(Topology()))
    return {name: read_secret(folder / f"broker-{name}-password") for name in names}


def main() -> None:
    """Write the definitions, with the passwords from the folder that the first argument names."""
    if len(sys.argv) != 2:
        raise SettingsError("usage: python -m shotwatch_operations.broker.accounts FOLDER")
    topology = Topology(SystemSettings.load().prefix)
    print(json.dumps(definitions(read_passwords(Path(sys.argv[1])), topology), indent=2))


if __name__ == "__main__":
    sys.exit(exit_status(main))
