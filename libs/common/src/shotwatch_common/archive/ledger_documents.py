"""The documents of the collection `objects`, as classes of libs/shots and back."""

from dataclasses import asdict
from typing import cast

from shotwatch_common.archive.driver import Document
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_attempt, current_trace_id
from shotwatch_shots.ledger import Entry, HistoryStep, Location, ObjectEntry, ObjectFacts
from shotwatch_shots.reconciliation.sides import KnownObject
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState

_NOT_JOINED = ("off_grid", "second_samples", "unexpected")
"""Facts that the service aggregate stores: how many records of an object are in no window."""
KNOWN_FIELDS = dict.fromkeys(
    (
        "key",
        "etag",
        "size",
        "state",
        "reason",
        "since",
        "arrived_at",
        "joined_at",
        "location",
        "records",
        "blocks_id",
        "history.state",
        *_NOT_JOINED,
    ),
    1,
)
"""The fields that a `KnownObject` is built from."""
_OF_REF = ObjectRef.model_fields.keys() - {"object_id"}
_FACTS = ObjectFacts.__annotations__.keys()


def decoded(document: Document) -> ObjectEntry:
    """Return the entry that a document holds."""
    ref = {"object_id": document["_id"], **{name: document[name] for name in _OF_REF}}
    where = document["location"]
    facts = {name: value for name, value in document.items() if name in _FACTS}
    return ObjectEntry(
        ref=ObjectRef.model_validate(ref),
        state=ObjectState(document["state"]),
        since=document["since"],
        reason=document["reason"],
        detail=document.get("detail", ""),
        seen_at=document["seen_at"],
        joined_at=document["joined_at"],
        location=(where["bucket"], where["key"]) if where else None,
        facts=cast(ObjectFacts, facts),
        history=tuple(
            HistoryStep(**{**step, "state": ObjectState(step["state"])}) for step in document["history"]
        ),
    )


def decoded_known(document: Document) -> KnownObject:
    """Return the known object that a document with KNOWN_FIELDS holds."""
    where = document["location"]
    return KnownObject(
        document["_id"],
        document["key"],
        document["etag"],
        document["size"],
        ObjectState(document["state"]),
        document["since"],
        document["arrived_at"],
        document["joined_at"],
        (where["bucket"], where["key"]) if where else None,
        document.get("records", 0),
        sum(document.get(fact, 0) for fact in _NOT_JOINED),
        document["reason"],
        document.get("blocks_id", ""),
        frozenset(ObjectState(step["state"]) for step in document["history"]),
    )


def encoded_location(location: Location) -> Document:
    """Return a location in the form that the ledger stores."""
    bucket, key = location
    return {"bucket": bucket, "key": key}


def encoded_step(entry: Entry) -> Document:
    """Return a step that is made now, with the current attempt and trace."""
    step = HistoryStep(
        entry.state, entry.stage, current_attempt(), entry.why, epoch_now(), current_trace_id()
    )
    return asdict(step)
