"""The rights of each account of the database and of the object store. Everything else is refused (ADR 22).

Those of the services come from the table of services. The accounts are created from the tables here:
`python -m shotwatch_operations.database` creates MongoDB's roles, `python -m shotwatch_operations.store` the
store's policies. docs/rights.md shows the same tables.
"""

from collections.abc import Iterator, Mapping
from typing import TypedDict

from shotwatch_common.actions import DocumentRights, ObjectAction, ObjectRights, buckets, collections
from shotwatch_common.services import SERVICES
from shotwatch_common.settings import Settings
from shotwatch_shots.identity import CALIBRATION


class PolicyStatement(TypedDict):
    """A statement of a policy of the object store."""

    Effect: str
    Action: list[str]
    Resource: list[str]


class Policy(TypedDict):
    """A policy of the object store, in Amazon's policy language."""

    Version: str
    Statement: list[PolicyStatement]


class CollectionResource(TypedDict):
    """A collection of the database, as MongoDB names it in a privilege."""

    db: str
    collection: str


class Privilege(TypedDict):
    """A privilege of a role, in the form that MongoDB's `createRole` takes."""

    resource: CollectionResource
    actions: list[str]


DATABASE: Mapping[str, DocumentRights] = {
    **{service.name: service.collections for service in SERVICES},
    "engineer": collections(
        {
            "objects": "find update",
            "records": "find",
            "windows": "find update",
            "unused_sources": "find",
            "batches": "find update remove",
            "shots": "find",
            "shot_counts": "find",
            "devices": "find",
            "measurements": "find remove",
            "events": "find",
            "counters": "find",
            "feedback": "find",
            "calibration_constants": "find insert",
            "reconciliations": "find insert update",
            "retention": "find",
            "reprocessings": "find insert update remove",
            "promotions": "find insert",
            "challengers": "find insert",
            "audit": "find insert",
        }
    ),
}
"""Account of the database → collection → what it may do there. The command line uses `engineer`."""

MONITOR = "monitor"
"""The account of the object store that reads its metrics; its secret key signs Prometheus' token."""

STORE: Mapping[str, ObjectRights] = {
    "uploader": buckets({"inbox": "write"}),
    "researcher": buckets({"tables": "list read"}),
    **{service.name: service.buckets for service in SERVICES},
    "engineer": buckets(
        {
            "inbox": "list read write",
            "data": "list read remove",
            f"data/{CALIBRATION}": "write",
            "errors": "list read",
            "blocks": "list read remove",
            "datasets": "list read write remove",
            "tables": "list",
        }
    ),
    MONITOR: {},
}
"""Account of the object store → bucket → what it may do there. The control system uses `uploader`, and
who reads day tables directly `researcher`."""

_S3_ACTIONS = {
    ObjectAction.READ: "s3:GetObject",
    ObjectAction.WRITE: "s3:PutObject",
    ObjectAction.REMOVE: "s3:DeleteObject",
}
_EVERYTHING = ["arn:aws:s3:::*"]
_NOTHING: PolicyStatement = {"Effect": "Deny", "Action": ["s3:*"], "Resource": _EVERYTHING}
"""The statement for an account without rights, since stores refuse a policy without statements."""
_METRICS: PolicyStatement = {"Effect": "Allow", "Action": ["admin:Prometheus"], "Resource": _EVERYTHING}
"""The statement for MONITOR: read the metrics of MinIO. It is for the server, but must name a resource."""


def account_name(account: str, settings: Settings) -> str:
    """Return the access key of an account of the store, such as `shotwatch-ingest`."""
    return f"{settings.database_name}-{account}"


def store_policy(account: str, settings: Settings) -> Policy:
    """Return the policy of an account of the store, in Amazon's policy language."""
    statements: list[PolicyStatement] = [
        {"Effect": "Allow", "Action": [action], "Resource": [f"arn:aws:s3:::{resource}"]}
        for action, resource in _allowed(STORE[account], settings)
    ]
    if account == MONITOR:
        statements.append(_METRICS)
    return {"Version": "2012-10-17", "Statement": statements or [_NOTHING]}


def database_privileges(account: str, database: str) -> list[Privilege]:
    """Return the privileges of an account's role, in the form that MongoDB's `createRole` takes.

    In every collection where an account has rights, it may also list the indexes, because services check at
    startup that these exist.
    """
    return [
        {"resource": {"db": database, "collection": collection}, "actions": [*sorted(actions), "listIndexes"]}
        for collection, actions in DATABASE[account].items()
    ]


def _allowed(rights: ObjectRights, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each allowed action with its resource."""
    for place, actions in rights.items():
        bucket, _, folder = place.partition("/")
        name = getattr(settings, f"{bucket.removesuffix('s')}_bucket")
        for action in sorted(actions):
            if action is ObjectAction.LIST:
                yield "s3:ListBucket", name
            else:
                yield _S3_ACTIONS[action], f"{name}/{folder}*"
