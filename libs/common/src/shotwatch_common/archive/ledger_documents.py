"""The documents of the collection `objects`, as classes of libs/shots and back."""

from dataclasses import asdict

from pydantic import TypeAdapter

from shotwatch_common.archive.driver import Document
from shotwatch_common.archive.readable import id_of, number, text
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_attempt, current_trace_id
from shotwatch_shots.ledger import (
    Entry,
    HistoryStep,
    JoinFacts,
    LastSeen,
    Location,
    ObjectEntry,
    OverdueObject,
    ReadFacts,
)
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
MOST_STEPS = 20
"""Maximum length of a history. Each time that the same file is stored adds a step."""
_LONGEST_WHY = 500
"""Maximum length of the explanation of a step, in characters; `detail` has the last one in full."""
_OF_REF = ObjectRef.model_fields.keys() - {"object_id"}
_step = TypeAdapter(HistoryStep)


def decoded(document: Document) -> ObjectEntry:
    """Return the entry that a document holds."""
    ref = {"object_id": document["_id"], **{name: document[name] for name in _OF_REF}}
    return ObjectEntry(
        ref=ObjectRef.model_validate(ref),
        state=ObjectState(document["state"]),
        since=number(document["since"]),
        reason=text(document["reason"]),
        detail=text(document.get("detail", "")),
        seen_at=number(document["seen_at"]),
        joined_at=number(document["joined_at"]),
        location=_location(document),
        read=ReadFacts.model_validate(_part(document, ReadFacts)) if "records" in document else None,
        join=JoinFacts.model_validate(_part(document, JoinFacts)) if "off_grid" in document else None,
        history=tuple(_step.validate_python(step) for step in document["history"]),
    )


def _part(document: Document, kind: type[Message]) -> Document:
    return {name: document[name] for name in kind.model_fields if name in document}


def encoded_facts(facts: ReadFacts | JoinFacts) -> Document:
    """Return facts in the form that the ledger stores: each is a field of the object's document."""
    return facts.model_dump(mode="json")


def decoded_known(document: Document) -> KnownObject:
    """Return the known object that a document with KNOWN_FIELDS holds."""
    return KnownObject(
        id_of(document),
        text(document["key"]),
        text(document["etag"]),
        number(document["size"]),
        ObjectState(document["state"]),
        number(document["since"]),
        number(document["arrived_at"]),
        number(document["joined_at"]),
        _location(document),
        number(document.get("records", 0)),
        sum(number(document.get(fact, 0)) for fact in _NOT_JOINED),
        text(document["reason"]),
        text(document.get("blocks_id", "")),
        frozenset(ObjectState(step["state"]) for step in document["history"]),
    )


def _location(document: Document) -> Location | None:
    where = document["location"]
    return (text(where["bucket"]), text(where["key"])) if where else None


def decoded_arrival(document: Document) -> tuple[str, int]:
    """Return the id and the arrival time (epoch ms) of an object."""
    return id_of(document), number(document["arrived_at"])


def decoded_last_seen(document: Document) -> tuple[str, LastSeen]:
    """Return the id of an object, and when it was last seen."""
    state = ObjectState(document["state"])
    return id_of(document), LastSeen(number(document["seen_at"]), state, number(document["since"]))


def decoded_place(document: Document) -> tuple[str, Location | None]:
    """Return the id and the location of an object."""
    return id_of(document), _location(document)


def decoded_overdue(document: Document) -> OverdueObject:
    """Return an object that is not joined yet."""
    return OverdueObject(id_of(document), text(document["key"]), number(document["since"]))


def decoded_group(group: Document) -> tuple[ObjectState, str, int, int]:
    """Return state, reason, number and bytes of a group of objects."""
    of = group["_id"]
    return ObjectState(of["state"]), text(of["reason"]), number(group["count"]), round(group["bytes"])


def encoded_location(location: Location | None) -> Document | None:
    """Return a location in the form that the ledger stores; None stays None."""
    return location and {"bucket": location[0], "key": location[1]}


def encoded_step(entry: Entry) -> Document:
    """Return a step that is made now, with the current attempt and trace."""
    step = HistoryStep(
        entry.state, entry.stage, current_attempt(), entry.why[:_LONGEST_WHY], epoch_now(), current_trace_id()
    )
    return asdict(step)


def step_added(entry: Entry) -> Document:
    """Return the update that adds a step to the history, and drops the oldest ones beyond MOST_STEPS."""
    return {"$push": {"history": {"$each": [encoded_step(entry)], "$slice": -MOST_STEPS}}}
