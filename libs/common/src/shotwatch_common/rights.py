"""The rights of each account of the database and of the object store. Everything else is refused (ADR 22).

The accounts are created from these tables: `python -m shotwatch_operations.database` creates MongoDB's roles,
`python -m shotwatch_operations.store` the store's policies. docs/rights.md shows the same tables.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypedDict, TypeVar

from shotwatch_common.settings import Settings
from shotwatch_shots.identity import CALIBRATION, RESIDUALS


class DocumentAction(StrEnum):
    """An action on a collection, by MongoDB's name. An upsert needs `update` and `insert`."""

    FIND = "find"
    INSERT = "insert"
    UPDATE = "update"
    REMOVE = "remove"


class ObjectAction(StrEnum):
    """An action on a bucket.

    In stores such as Amazon's, reading needs LIST as well: without it, the store reports a missing object as
    access denied.
    """

    LIST = "list"
    READ = "read"
    WRITE = "write"
    REMOVE = "remove"


DocumentRights = Mapping[str, frozenset[DocumentAction]]
"""Collection → what an account may do there."""
ObjectRights = Mapping[str, frozenset[ObjectAction]]
"""Bucket, or bucket and folder (`data/calibration_constants/`) → what an account may do there.

Buckets have their default names here: `data` stands for the data bucket.
"""


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


AnyAction = TypeVar("AnyAction", bound=StrEnum)


def _parsed(
    kind: type[AnyAction], table: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, frozenset[AnyAction]]]:
    return {
        account: {where: frozenset(map(kind, actions.split())) for where, actions in rights.items()}
        for account, rights in table.items()
    }


DATABASE: Mapping[str, DocumentRights] = _parsed(
    DocumentAction,
    {
        "ingest": {"objects": "find insert update"},
        "validate": {
            "objects": "insert update",
            "records": "insert update",
            "frames": "find insert update",
        },
        "aggregate": {
            "objects": "find insert update",
            "records": "find",
            "devices": "find insert update",
            "windows": "find insert update",
            "unused_sources": "insert",
            "batches": "insert update",
        },
        "features": {
            "batches": "find update",
            "calibration_constants": "find",
            "measurements": "insert update",
        },
        "inference": {
            "batches": "update",
            "measurements": "find insert update",
            "shots": "find insert update",
            "shot_counts": "insert update",
            "incidents": "find insert update",
            "events": "find insert update",
            "counters": "find insert update",
            "feedback": "find",
            "shadows": "insert update",
            "model_loads": "insert update remove",
            "promotions": "find",
            "challengers": "find",
            "audit": "find",
        },
        "history": {
            "objects": "find update",
            "records": "find remove",
            "windows": "find remove",
            "unused_sources": "find remove",
            "batches": "find remove",
            "shots": "find remove",
            "shot_counts": "find update remove",
            "devices": "find",
            "measurements": "find remove",
            "retention": "find insert update",
            "tables": "find insert update remove",
            "feedback": "find",
            "calibration_constants": "find insert",
            "trends": "find insert update",
            "drifts": "insert update",
            "promotions": "find",
            "challengers": "find",
            "audit": "find",
            "events": "find insert update",
            "counters": "find insert update",
            "reconciliations": "find insert update",
        },
        "query": {
            "objects": "find",
            "records": "find",
            "batches": "find",
            "shots": "find",
            "shot_counts": "find",
            "devices": "find",
            "measurements": "find",
            "calibration_constants": "find",
            "drifts": "find",
            "events": "find",
            "counters": "find",
            "reconciliations": "find",
            "retention": "find",
            "model_loads": "find",
            "promotions": "find",
            "challengers": "find",
            "shadows": "find",
            "feedback": "find insert",
            "audit": "find insert",
        },
        "training": {
            "objects": "find",
            "batches": "find",
            "shots": "find",
            "shot_counts": "find",
            "measurements": "find",
            "events": "find",
            "feedback": "find",
            "challengers": "find insert",
            "audit": "insert",
        },
        "engineer": {
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
        },
    },
)
"""Account of the database → collection → what it may do there."""

MONITOR = "monitor"
"""The account of the object store that reads its metrics; its secret key signs Prometheus' token."""

STORE: Mapping[str, ObjectRights] = _parsed(
    ObjectAction,
    {
        "uploader": {"inbox": "write"},
        "researcher": {"tables": "list read"},
        "ingest": {
            "inbox": "list read remove",
            "data": "list read write",
            "errors": "list read write",
            "blocks": "write",
        },
        "validate": {},
        "aggregate": {"inbox": "list"},
        "features": {"data": "list", f"data/{CALIBRATION}": "read", "blocks": "list read"},
        "inference": {"blocks": "list read", f"blocks/{RESIDUALS}": "write"},
        "history": {
            "inbox": "list read",
            "data": "list",
            f"data/{CALIBRATION}": "read write",
            "errors": "list read",
            "blocks": "list read",
            "tables": "list read write remove",
        },
        "query": {"blocks": "list read", "tables": "list read"},
        "training": {"data": "list read", "blocks": "list read", "datasets": "list read write remove"},
        "engineer": {
            "inbox": "list read write",
            "data": "list read remove",
            f"data/{CALIBRATION}": "write",
            "errors": "list read",
            "blocks": "list read remove",
            "datasets": "list read write remove",
        },
        MONITOR: {},
    },
)
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
