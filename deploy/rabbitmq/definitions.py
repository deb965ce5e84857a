"""Writes RabbitMQ's definitions to standard output: the virtual host, who may do what in it, and policies.

    python definitions.py FOLDER

The password of each account is read from the file `broker-{account}-password` of the folder. Queues and
exchanges are declared by the services themselves. Runs wherever Python does: it needs no package.
"""

import base64
import hashlib
import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

VIRTUAL_HOST = "shotwatch"
DELIVERIES = 20
"""A message that so many consumers died of is parked."""

STAGES_OF = {
    "ingest": ("ingest",),
    "validate": ("validate",),
    "aggregate": ("aggregate",),
    "features": ("features", "examination"),
    "inference": ("inference", "shadow"),
    "history": (),
}
"""Service → the stages whose queues it works on."""

NOTHING = "^$"
OWN = r"^(amq\.gen-.*|operator\..*)$"
ALL_OF_OURS = r"^(shotwatch\..+|anomalies|amq\.(default|gen-.*))$"
OTHERS = {
    "store": {"configure": r"^shotwatch\.objects$", "write": r"^shotwatch\.objects$", "read": NOTHING},
    "monitor": {"configure": NOTHING, "write": NOTHING, "read": NOTHING},
    "operator": {"configure": OWN, "write": OWN, "read": r"^(anomalies|amq\.gen-.*|operator\..*)$"},
    "engineer": {"configure": ALL_OF_OURS, "write": ALL_OF_OURS, "read": ALL_OF_OURS},
}
"""Who is no service: the object store, which notifies; the autoscaler; people who listen to anomalies;
people who look after the system, by the command line."""


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """What a node loads at its first start.

    Raises:
        KeyError: an account has no password.
    """
    permissions = {name: _of_service(stages) for name, stages in STAGES_OF.items()} | OTHERS
    return {
        "vhosts": [{"name": VIRTUAL_HOST}],
        "users": [_user(name, passwords[f"BROKER_{name.upper()}_PASSWORD"]) for name in permissions],
        "permissions": [
            {"user": name, "vhost": VIRTUAL_HOST, **allowed} for name, allowed in permissions.items()
        ],
        "policies": [_policy(stage) for stage in _stages()],
    }


def read_passwords(folder: Path) -> dict[str, str]:
    """Return BROKER_{ACCOUNT}_PASSWORD for each file `broker-{account}-password` of the folder."""
    files = folder.glob("broker-*-password")
    return {file.name.upper().replace("-", "_"): file.read_text(encoding="utf-8").strip() for file in files}


def _of_service(stages: tuple[str, ...]) -> dict[str, str]:
    """Every service declares everything, so that none publishes into the void; it reads its own queues only.

    To declare a queue that dead-letters takes the right to read it: so the waiting queues.
    """
    readable = "|".join(("objects", "work", r".+\.retry\..+", *stages))
    return {
        "configure": r"^(shotwatch\..+|anomalies)$",
        "write": r"^(shotwatch\..+|anomalies|amq\.default)$",
        "read": rf"^shotwatch\.({readable})$",
    }


def _user(name: str, password: str) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": _hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["monitoring"] if name == "monitor" else [],
    }


def _hash(password: str) -> str:
    """RabbitMQ's own: base64 of four random bytes, and SHA-256 of these and the password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _stages() -> Iterator[str]:
    for stages in STAGES_OF.values():
        yield from stages


def _policy(stage: str) -> dict[str, Any]:
    """RabbitMQ 4 drops what was delivered 20 times, unless there is somewhere to put it."""
    return {
        "name": f"park-{stage}",
        "vhost": VIRTUAL_HOST,
        "pattern": rf"^shotwatch\.{stage}$",
        "apply-to": "queues",
        "definition": {
            "delivery-limit": DELIVERIES,
            "dead-letter-exchange": "",
            "dead-letter-routing-key": f"shotwatch.{stage}.parked",
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",  # which that strategy takes
        },
    }


if __name__ == "__main__":
    print(json.dumps(definitions(read_passwords(Path(sys.argv[1]))), indent=2))
