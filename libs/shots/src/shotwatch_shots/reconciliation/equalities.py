"""The equalities: two sources must agree about the same things. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from shotwatch_shots.identity import blocks_id, fitting_key, fitting_name, reason_key, versioned_key
from shotwatch_shots.reconciliation.sides import (
    Buckets,
    ClosedShots,
    ClosedWindow,
    HeldBlock,
    HeldObject,
    JoinedRows,
    KnownObject,
    Numbers,
    StoredEvent,
    StoredShot,
    Tally,
    ValidatedRows,
)
from shotwatch_shots.vocabulary import ObjectState, ShotState

_WITHOUT_RECORDS = (ObjectState.REJECTED, ObjectState.IGNORED)
NAMED = 100
"""Number of imbalances that a check names; it only counts the others."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MULTIPART = "-"
"""Mark in the etag of an object from a multipart upload: its copy has another etag, and the same size."""


@dataclass(frozen=True, slots=True, order=True)
class Imbalance:
    """One thing about which two sources disagree."""

    subject: str
    """`object …`, `shot …`, `event number …`."""
    wrong: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a comparison."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How many things each side has."""
    imbalances: tuple[Imbalance, ...] = ()
    """At most NAMED."""
    more: int = 0
    """Number of imbalances that are not named."""
    under_way: int = 0
    """Number of things that will either be accounted for or become imbalances."""
    pending: tuple[Imbalance, ...] = ()
    """Those things, as the imbalances that they would be; at most NAMED."""
    tally: Tally | None = None
    """The tally of the objects whose records were compared."""

    @property
    def total(self) -> int:
        """How many imbalances there are, named or not."""
        return len(self.imbalances) + self.more

    @classmethod
    def of(cls, outcomes: Iterable["Outcome"]) -> "Outcome":
        """Return the sum of several outcomes."""
        total = _Account()
        for outcome in outcomes:
            for name, count in outcome.counts.items():
                total.counts[name] += count
            for imbalance in outcome.imbalances:
                total.wrong(imbalance.subject, imbalance.wrong)
            total.more += outcome.more
            total.under_way += outcome.under_way
            total.pending += outcome.pending[: NAMED - len(total.pending)]
        return total.outcome()


@dataclass(slots=True)
class _Account:
    """An outcome under construction."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    imbalances: list[Imbalance] = field(default_factory=list)
    more: int = 0
    under_way: int = 0
    pending: list[Imbalance] = field(default_factory=list)

    def wrong(self, subject: str, wrong: str) -> None:
        if len(self.imbalances) < NAMED:
            self.imbalances.append(Imbalance(subject, wrong))
        else:
            self.more += 1

    def late(self, subject: str, wrong: str, still_under_way: bool) -> None:
        """Add an imbalance, or a pending one if it is still in progress."""
        if still_under_way:
            self.wait(subject, wrong)
        else:
            self.wrong(subject, wrong)

    def wait(self, subject: str, why: str) -> None:
        """Add something that is in progress."""
        self.under_way += 1
        if len(self.pending) < NAMED:
            self.pending.append(Imbalance(subject, why))

    def outcome(self) -> Outcome:
        named = tuple(self.imbalances), self.more
        return Outcome(dict(self.counts), *named, self.under_way, tuple(self.pending))


# objects: a bucket and the ledger


def compare_folder(
    bucket: str,
    held: Sequence[HeldObject],
    known: Sequence[KnownObject],
    moving: Collection[str],
    unexplained: Collection[str],
    settled_before: int,
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
    """
    account = _Account()
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
            account.late(_named(newest), f"{newest.state}, and {bucket}/{key} does not exist", under_way)
        elif not any(_same(there[key], version) for version in of_key):
            held_as, known_as = (f"etag {v.etag}, {v.size} bytes" for v in (there[key], newest))
            wrong = f"{bucket}/{key} has {held_as}; the ledger says {known_as}"
            account.late(_named(newest), wrong, under_way)
        elif newest.id in unexplained:
            account.wrong(_named(newest), f"{newest.state}, and its note {reason_key(key)} does not exist")
    for key in there:
        if key not in versions:
            account.wrong(f"{bucket}/{key}", "in the bucket, and the ledger has no object there")
    return account.outcome()


def compare_block_folders(bucket: str, day: str, folders: Iterable[str], known: Collection[str]) -> Outcome:
    """Compare the folders of a day in the block bucket, one per object, with the ids in the ledger."""
    account = _Account()
    for folder in folders:
        if folder not in known:
            account.wrong(f"{bucket}/{day}/{folder}/", "blocks of an object that the ledger does not have")
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
    account = _Account()
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
            account.late(_named(of_ledger), wrong, queued or recent)
        elif not expected and id_ in held:
            where = "/".join(of_ledger.location or ("nowhere",))
            wrong = f"in the inbox, and {of_ledger.state} by the ledger: {where}"
            account.late(_named(of_ledger), wrong, recent)
        elif expected and of_ledger.state is ObjectState.WAITING:
            account.wait(_named(of_ledger), "waits in the inbox")
    return account.outcome()


# places: the state and the location of an object


def compare_places(
    objects: Sequence[KnownObject],
    raw_keys: Mapping[str, Collection[str]],
    buckets: Buckets,
    settled_before: int,
) -> Outcome:
    """Compare the state of each object with its history, and with its location in the ledger.

    A dead-lettered object stays at its previous location.

    Args:
        objects: in any state.
        raw_keys: object id → the keys that it may have in the data bucket once it is read; without the
            objects whose key is not a file name of the facility.
        buckets: the buckets that hold objects.
        settled_before: everything that entered its state earlier has its final location (epoch ms).
    """
    account = _Account()
    for each in objects:
        implied = _state_implied(each, raw_keys.get(each.id, ()), buckets)
        if each.state not in (implied, ObjectState.DEAD_LETTERED):
            wrong = f"{each.state}, and its location is {'/'.join(each.location or ('nowhere',))}"
            account.late(_named(each), wrong, each.since >= settled_before)
        elif each.state not in each.states:
            account.wrong(_named(each), f"{each.state}, and no step of its history says so")
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
    if bucket == buckets.error and folder == each.reason and name in fitting:
        return ObjectState.REJECTED
    return None


# records: blocks, validated records, windows


Blocks = Mapping[str, HeldBlock]
"""By their names in the folder of their object."""


def compare_records(
    objects: Sequence[KnownObject],
    replaced: Collection[str],
    blocks: Mapping[str, Blocks],
    validated: Iterable[ValidatedRows],
    joined: Iterable[JoinedRows],
    settled_before: int,
    blocks_kept_after: int,
    queued: bool,
) -> Outcome:
    """Compare the records of ingested objects: in blocks, validated, in windows and on no pulse.

    Args:
        objects: in any state; rejected and ignored ones have no records.
        replaced: ids of objects of which a later version was ingested; that version has the records.
        blocks: object id → the blocks in its folder of the block bucket.
        validated: validated rows of these objects; rows of others are left out.
        joined: joined rows, likewise.
        settled_before: everything that was ingested earlier is joined, unless a message waits (epoch ms).
        blocks_kept_after: the blocks of an object that was ingested earlier may have expired, all together
            (epoch ms).
        queued: whether messages wait for validate or aggregate.
    """
    account = _Account()
    names = ("in_blocks", "validated", "valid", "refused", "displaced", "on_no_pulse", "replaced")
    account.counts |= dict.fromkeys(names, 0)
    of_validate, of_windows = _rows_by_object(validated), defaultdict(list)
    for part in joined:
        of_windows[part.object_id].append(part)
    for each in objects:
        if each.state in _WITHOUT_RECORDS:
            rows = sum(part.valid + part.refused for part in of_windows[each.id])
            recent = each.since >= settled_before
            if rows or each.joined_at:
                wrong = f"{each.state}, and its records were joined: windows have {rows}"
                account.late(_named(each), wrong, queued or recent)
        elif each.state is not ObjectState.INGESTED:
            continue
        elif each.id in replaced:
            account.counts["replaced"] += 1
        elif not each.joined_at:
            recent = each.since >= settled_before
            account.late(_named(each), "ingested, and its records were never joined", queued or recent)
        else:
            expired = not blocks[each.id] and each.since < blocks_kept_after
            in_blocks = None if expired else blocks[each.id]
            _compare_rows(account, each, in_blocks, of_validate[each.id], of_windows[each.id])
    return account.outcome()


def _compare_rows(
    account: _Account,
    each: KnownObject,
    blocks: Blocks | None,
    validated: Mapping[str, ValidatedRows],
    joined: Sequence[JoinedRows],
) -> None:
    rows = sum(part.rows for part in validated.values())
    refused_rows = sum(part.refused for part in validated.values())
    if rows != each.records:
        account.wrong(_named(each), f"ingest read {each.records} records, {rows} were validated")
    valid, refused, displaced = (
        sum(getattr(part, name) for part in joined) for name in ("valid", "refused", "displaced")
    )
    if rows != valid + refused + displaced + each.on_no_pulse:
        parts = f"{valid} valid, {refused} refused, {displaced} displaced by a later file"
        wrong = f"{rows} records were validated; windows have {parts}, and {each.on_no_pulse} are on no pulse"
        account.wrong(_named(each), wrong)
    elsewhere = displaced + each.on_no_pulse
    # Any number of the displaced records, and of those on no pulse, may have been refused.
    if not refused <= refused_rows <= refused + elsewhere:
        parts = f"windows have {refused}, and {elsewhere} records are displaced or on no pulse"
        account.wrong(_named(each), f"validation refused {refused_rows} records; {parts}")
    if blocks is not None:
        _compare_blocks(account, each, blocks, validated)
    account.counts["validated"] += rows
    account.counts["valid"] += valid
    account.counts["refused"] += refused
    account.counts["displaced"] += displaced
    account.counts["on_no_pulse"] += each.on_no_pulse


def _compare_blocks(
    account: _Account, each: KnownObject, blocks: Blocks, validated: Mapping[str, ValidatedRows]
) -> None:
    """Compare the rows of an object's blocks with validated records, and the blocks with those written."""
    account.counts["in_blocks"] += sum(block.rows or 0 for block in blocks.values())
    rows = {name: block.rows for name, block in blocks.items()}
    expected = {name: part.rows for name, part in validated.items()}
    for device in sorted({*rows, *expected}):
        in_block, of_device = rows.get(device, 0), expected.get(device, 0)
        if in_block != of_device:
            has = "cannot be read" if in_block is None else f"has {in_block} rows"
            account.wrong(_named(each), f"the block of {device} {has}, {of_device} records were validated")
    found = blocks_id({name: block.etag for name, block in blocks.items()})
    if rows == expected and each.blocks_id not in ("", found):
        account.wrong(_named(each), "its blocks have the right numbers of rows, but ingest wrote other bytes")


def _rows_by_object(validated: Iterable[ValidatedRows]) -> Mapping[str, dict[str, ValidatedRows]]:
    """Return object id → name of the device's block → rows."""
    rows: defaultdict[str, dict[str, ValidatedRows]] = defaultdict(dict)
    for part in validated:
        rows[part.object_id][fitting_name(part.device)] = part
    return rows


# shots: windows, shots, batches


def compare_shots(
    windows: Sequence[ClosedWindow],
    stored: Iterable[StoredShot],
    batches: Iterable[ClosedShots],
    settled_before: int,
    queued: bool,
) -> Outcome:
    """Compare the pulses that windows closed with the stored shots and with their batches.

    Args:
        windows: all windows of an hour.
        stored: all shots of windows of that hour.
        batches: all batches of these windows.
        settled_before: everything that was closed earlier is judged, unless a message waits (epoch ms).
        queued: whether messages wait for features or inference.
    """
    account = _Account()
    account.counts |= {"closed": 0, "stored": 0, **dict.fromkeys(map(str, ShotState), 0)}
    closing = {
        (batch.window_id, pulse, revision): batch
        for batch in batches
        for pulse, revision in batch.revisions.items()
    }
    shots: defaultdict[str, dict[int, StoredShot]] = defaultdict(dict)
    for each in stored:
        shots[each.window_id][each.pulse] = each
        account.counts["stored"] += 1
    for window in windows:
        of_window = shots.pop(window.id, {})
        sending = 0 < window.sending_since >= settled_before
        for pulse, revision in window.revisions.items():
            account.counts["closed"] += 1
            batch = closing.get((window.id, pulse, revision))
            subject = f"shot of {window.id} at {pulse}"
            if batch is None:
                account.late(subject, f"closed at revision {revision}, and in no batch", sending)
                of_window.pop(pulse, None)
                continue
            account.counts[batch.state] += 1
            shot = of_window.pop(pulse, None)
            if batch.state is ShotState.WAITING:
                recent = batch.closed_at >= settled_before
                account.late(subject, f"closed in batch {batch.batch_id}, and never judged", queued or recent)
            elif batch.state is ShotState.JUDGED and shot is None:
                account.wrong(subject, f"judged in batch {batch.batch_id}, and not stored")
            if shot is not None:
                _compare_revisions(account, shot, revision, batch.state)
        for each in of_window.values():
            account.wrong(f"shot {each.id}", f"stored, and not closed in window {window.id}")
    for window_id, of_window in shots.items():
        for each in of_window.values():
            account.wrong(f"shot {each.id}", f"stored, and there is no window {window_id}")
    return account.outcome()


def compare_files(joined_from: Iterable[tuple[str, str]], known: Collection[str]) -> Outcome:
    """Compare the files from which things were made with the files that the ledger has.

    Args:
        joined_from: what was made (`window …`), and the key of a file that it was made from.
        known: those of these keys under which the ledger has an object.
    """
    account = _Account()
    for subject, file in joined_from:
        if file not in known:
            account.wrong(subject, f"has records of {file}, which the ledger does not have")
    return account.outcome()


def _compare_revisions(account: _Account, shot: StoredShot, closed: int, state: ShotState) -> None:
    """Check the revision of a stored shot: its window's, or an earlier one until the batch is judged."""
    if shot.revision > closed or (shot.revision < closed and state is ShotState.JUDGED):
        wrong = f"stored at revision {shot.revision}, closed at revision {closed} by its window"
        account.wrong(f"shot {shot.id}", wrong)


# events: stored events, sequence numbers, confirmations


def compare_events(stored: Sequence[StoredEvent], numbers: Numbers, settled_before: int) -> Outcome:
    """Compare the events that were stored in an hour with the sequence numbers and with confirmations.

    No number may be missing between the events, nor between them and the nearest stored numbers before and
    after.
    """
    account = _Account()
    account.counts |= {"stored": len(stored), "numbers": 0, "confirmed": 0}
    for event in stored:
        subject = f"event {event.id} (number {event.number})"
        if event.published_at:
            account.counts["confirmed"] += 1
        else:
            wrong = "stored, and never confirmed by the broker"
            account.late(subject, wrong, event.stored_at >= settled_before)
        if event.published_number != event.number:
            account.wrong(subject, f"subscribers see number {event.published_number}")
        if event.number > numbers.highest:
            account.wrong(subject, f"no number above {numbers.highest} was given out")
    accounted = {numbers.before, *numbers.stored, *numbers.void, numbers.after}
    around = sorted(number for number in accounted if numbers.before <= number <= numbers.after)
    for last, following in pairwise(around):
        _compare_gap(account, last + 1, following - 1, numbers.reserved, settled_before)
    account.counts["numbers"] = len(numbers.stored)
    return account.outcome()


def _compare_gap(
    account: _Account, first: int, last: int, reserved: Mapping[int, int], settled_before: int
) -> None:
    """Add the missing numbers first..last: reserved ones individually, the others as one gap."""
    waiting = {number: at for number, at in reserved.items() if first <= number <= last}
    for number, at in waiting.items():
        wrong = "reserved for an event that was never stored"
        account.late(f"event number {number}", wrong, at >= settled_before)
    missing = last - first + 1 - len(waiting)
    if missing > 0:
        which = f"event number {first}" if first == last else f"event numbers {first} to {last}"
        wrong = "no event has this number" if missing == 1 else f"{missing} numbers have no event"
        account.wrong(which, wrong)


# what the sides have in common


def _named(known: KnownObject) -> str:
    return f"object {known.id} ({known.key})"


def _same(held: HeldObject, known: KnownObject) -> bool:
    """Return whether the bucket holds the version that the ledger has."""
    if _MULTIPART in held.etag or _MULTIPART in known.etag:
        return held.size == known.size
    return held.etag == known.etag
