"""Compare the buckets with the ledger, and the state of each object with its location. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from shotwatch_shots.identity import fitting_key, reason_key, versioned_key
from shotwatch_shots.reconciliation.outcome import Outcome, OutcomeBuilder
from shotwatch_shots.reconciliation.sides import Buckets, HeldObject, KnownObject
from shotwatch_shots.vocabulary import ObjectState

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_READ = {ObjectState.INGESTED, ObjectState.EXPIRED}
"""The states of an object whose raw file is in the data bucket."""
_MULTIPART = "-"
"""Mark in the etag of an object from a multipart upload: its copy has another etag, and the same size."""


def compare_folder(
    bucket: str,
    held: Sequence[HeldObject],
    known: Sequence[KnownObject],
    moving: Collection[str],
    unexplained: Collection[str],
    settled_before: int,
    expired_before: int,
) -> Outcome:
    """Compare a part of the data or the error bucket with what the ledger has there.

    Several versions of a file may have the same location: the bucket holds one, the others were replaced.

    Args:
        bucket: the data or the error bucket.
        held: its objects, without the notes that contain rejection reasons.
        known: what the ledger has there; objects in other buckets are left out.
        moving: ids of objects that are still in the inbox.
        unexplained: ids of objects that should have a note beside them, but have none.
        settled_before: nothing that was settled earlier is still being moved (epoch ms).
        expired_before: an object that was stored later has not expired (epoch ms).
    """
    account = OutcomeBuilder()
    account.counts |= {"in_buckets": len(held), "in_ledger": 0, "replaced": 0}
    versions = defaultdict(list)
    for each in known:
        if each.location is not None and each.location[0] == bucket:
            versions[each.location[1]].append(each)
    there = {each.key: each for each in held}
    for key, of_key in versions.items():
        newest = max(of_key, key=lambda each: each.arrived_at)
        replaced = len(of_key) - 1
        account.counts["in_ledger"] += 1
        account.counts["replaced"] += replaced
        under_way = newest.id in moving and newest.since >= settled_before
        if key not in there:
            account.late(newest.label, f"{newest.state}, and {bucket}/{key} does not exist", under_way)
        elif not any(_same(there[key], version) for version in of_key):
            held_as, known_as = (f"etag {v.etag}, {v.size} bytes" for v in (there[key], newest))
            wrong = f"{bucket}/{key} has {held_as}; the ledger records {known_as}"
            account.late(newest.label, wrong, under_way)
        elif newest.state is ObjectState.EXPIRED and there[key].modified_at >= expired_before:
            account.wrong(newest.label, f"expired, and {bucket}/{key} is younger than what is deleted")
        elif newest.id in unexplained:
            account.wrong(newest.label, f"{newest.state}, and its note {reason_key(key)} does not exist")
    for key in there:
        if key not in versions:
            account.wrong(f"{bucket}/{key}", "in the bucket, and the ledger has no object there")
    return account.outcome()


def compare_block_folders(
    bucket: str, day: str, names: Iterable[str], known: Mapping[str, str | None]
) -> Outcome:
    """Compare what is in the folder of a day in the block bucket with the objects in the ledger.

    Args:
        bucket: the block bucket.
        day: name of the folder.
        names: what it contains: a folder (`ID/`) for each object with blocks, and nothing else.
        known: object id → the folder of the object's day; None for an object whose key has no day. It lacks
            objects that the ledger does not have.
    """
    account = OutcomeBuilder()
    for name in names:
        id_, subject = name.removesuffix("/"), f"{bucket}/{day}/{name}"
        if name == id_ or id_ not in known:
            account.wrong(subject, "blocks of an object that the ledger does not have")
        elif known[id_] not in (day, None):
            account.wrong(subject, f"blocks of an object of {known[id_]}, in the folder of another day")
    return account.outcome()


def compare_inbox(
    bucket: str,
    held: Mapping[str, HeldObject],
    known: Mapping[str, KnownObject],
    settled_before: int,
    swept_before: int,
    queued: bool,
) -> Outcome:
    """Compare the content of the inbox with the ledger.

    Args:
        bucket: the inbox.
        held: its objects, by id.
        known: the ledger's entries of these, and of all others that should be there, by id.
        settled_before: nothing that was settled earlier is still being moved out of the inbox (epoch ms).
        swept_before: the sweep has seen what was stored earlier (epoch ms).
        queued: whether messages wait for ingest.
    """
    account = OutcomeBuilder()
    account.counts |= {"in_inbox": len(held), "waiting": 0}
    for id_, each in held.items():
        if id_ not in known:
            fresh = each.modified_at >= swept_before
            account.late(f"object {id_} ({each.key})", "in the inbox, and unknown to the ledger", fresh)
    for id_, of_ledger in known.items():
        expected = of_ledger.location == (bucket, of_ledger.key)
        recent = of_ledger.since >= settled_before
        account.counts["waiting"] += expected
        if expected and id_ not in held:
            wrong = f"{of_ledger.state}, and gone from the inbox"
            account.late(of_ledger.label, wrong, queued or recent)
        elif not expected and id_ in held:
            where = "/".join(of_ledger.location or ("nowhere",))
            wrong = f"in the inbox, and {of_ledger.state} by the ledger: {where}"
            account.late(of_ledger.label, wrong, recent)
        elif expected and of_ledger.state is ObjectState.WAITING:
            account.wait(of_ledger.label, "waits in the inbox")
    return account.outcome()


def compare_places(
    objects: Sequence[KnownObject],
    raw_keys: Mapping[str, Collection[str]],
    buckets: Buckets,
    settled_before: int,
) -> Outcome:
    """Compare the state of each object with its history, and with its location in the ledger.

    A dead-lettered object stays at its previous location: that of another state in its history.

    Args:
        objects: in any state.
        raw_keys: object id → the keys that it may have in the data bucket once it is read; without the
            objects whose key is not a file name of the facility.
        buckets: the buckets that hold objects.
        settled_before: everything that entered its state earlier has its final location (epoch ms).
    """
    account = OutcomeBuilder()
    for each in objects:
        implied = _state_implied(each, raw_keys.get(each.id, ()), buckets)
        expected = {each.state, *(each.states if each.state is ObjectState.DEAD_LETTERED else ())}
        if expected & _READ:
            expected |= _READ
        if implied not in expected:
            wrong = f"{each.state}, and its location is {'/'.join(each.location or ('nowhere',))}"
            account.late(each.label, wrong, each.since >= settled_before)
        elif each.state not in each.states:
            account.wrong(each.label, f"{each.state}, and no step of its history records it")
    return account.outcome()


def _state_implied(each: KnownObject, raw: Collection[str], buckets: Buckets) -> ObjectState | None:
    """Return the state that follows from an object's location; None if no object may be there."""
    if each.location is None:
        return ObjectState.IGNORED
    if each.location == (buckets.inbox, each.key):
        return ObjectState.WAITING
    bucket, key = each.location
    day, _, below = key.partition("/")
    folder, _, name = below.partition("/")
    fitting = fitting_key(each.key), versioned_key(each.key, each.etag)  # the former before ADR 22
    if not _DAY.fullmatch(day):
        return None
    if bucket == buckets.data and (key in raw if raw else below in fitting):
        return ObjectState.INGESTED
    if bucket == buckets.data and folder == "ignored" and name in fitting:
        return ObjectState.IGNORED
    # A dead-lettered object has the reason for which it was dead-lettered, and keeps its folder.
    of_reason = folder == each.reason or each.state is ObjectState.DEAD_LETTERED
    if bucket == buckets.error and of_reason and name in fitting:
        return ObjectState.REJECTED
    return None


def _same(held: HeldObject, known: KnownObject) -> bool:
    """Return whether the bucket holds the version that the ledger has."""
    in_parts = _MULTIPART in held.etag or _MULTIPART in known.etag
    return held.size == known.size and (in_parts or held.etag == known.etag)
