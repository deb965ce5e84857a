"""The documents of the collection `objects`, as classes of libs/shots and back."""

from dataclasses import asdict

from shotwatch_common.archive.driver import Document
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_attempt, current_trace_id
from shotwatch_shots.ledger import Entry, HistoryStep, JoinFacts, Location, ObjectEntry, ReadFacts
from shotwatch_shots.message import Message
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


def decoded(document: Document) -> ObjectEntry:
    """Return the entry that a document holds."""
    ref = {"object_id": document["_id"], **{name: document[name] for name in _OF_REF}}
    where = document["location"]
    return ObjectEntry(
        ref=ObjectRef.model_validate(ref),
        state=ObjectState(document["state"]),
        since=document["since"],
        reason=document["reason"],
        detail=document.get("detail", ""),
        seen_at=document["seen_at"],
        joined_at=document["joined_at"],
        location=(where["bucket"], where["key"]) if where else None,
        read=ReadFacts.model_validate(_part(document, ReadFacts)) if "records" in document else None,
        join=JoinFacts.model_validate(_part(document, JoinFacts)) if "off_grid" in document else None,
        history=tuple(
            HistoryStep(**{**step, "state": ObjectState(step["state"])}) for step in document["history"]
        ),
    )


def _part(document: Document, kind: type[Message]) -> Document:
    return {name: document[name] for name in kind.model_fields if name in document}


def encoded_facts(facts: ReadFacts | JoinFacts) -> Document:
    """Return facts in the form that the ledger stores: each is a field of the object's document."""
    return facts.model_dump(mode="json")


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


def encoded_location(location: Location | None) -> Document | None:
    """Return a location in the form that the ledger stores; None stays None."""
    return location and {"bucket": location[0], "key": location[1]}


def encoded_step(entry: Entry) -> Document:
    """Return a step that is made now, with the current attempt and trace."""
    step = HistoryStep(
        entry.state, entry.stage, current_attempt(), entry.why, epoch_now(), current_trace_id()
    )
    return asdict(step)
