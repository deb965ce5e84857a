"""The equalities: what two sources say of the same things must be the same. Pure.

What is under way is no imbalance. Each comparison is given the time before which nothing is under way any
more (`settled_before`, epoch ms), and whether messages about its things still lie in a queue (`queued`).
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
"""Imbalances that a check names; it counts the others."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MULTIPART = "-"
"""In the etag of an object that was uploaded in parts: its copy has another etag, and the same size."""


@dataclass(frozen=True, slots=True, order=True)
class Imbalance:
    """One thing of which two sources do not say the same."""

    subject: str
    """`object …`, `shot …`, `event number …`."""
    wrong: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison found."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How much each side has."""
    imbalances: tuple[Imbalance, ...] = ()
    """NAMED at most."""
    more: int = 0
    """Imbalances that are not named."""
    under_way: int = 0
    """Things that will be accounted for, or become imbalances."""
    pending: tuple[Imbalance, ...] = ()
    """What those are, and what they would be; NAMED at most."""
    tally: Tally | None = None
    """Of the objects whose records were compared."""

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
    """An outcome that is being added up."""

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
        """Add what is wrong unless it is still under way."""
        if still_under_way:
            self.wait(subject, wrong)
        else:
            self.wrong(subject, wrong)

    def wait(self, subject: str, why: str) -> None:
        """Add what is under way."""
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
    """Compare a part of the data or the error bucket with what the ledger says lies there.

    Several versions of a file may have one place: the one that lies there is held, the others were replaced.

    Args:
        bucket: the data or the error bucket.
        held: its objects, without the notes that say why a file was rejected.
        known: what the ledger says lies there; objects in other buckets are left out.
        moving: ids of objects that still lie in the inbox.
        unexplained: ids of objects that should have a note beside them, and have none.
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
    """Compare the folders of a day in the block bucket, one an object, with the ids that the ledger has."""
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
    """Compare what the inbox holds with what the ledger says of it.

    Args:
        bucket: the inbox.
        held: its objects, by id.
        known: what the ledger says of these, and of all others that should be there, by id.
        settled_before: nothing that was settled earlier is still being moved out of the inbox.
        swept_before: the sweep has seen what was stored earlier (epoch ms).
        queued: messages wait for ingest.
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
    """Compare the state of each object with its history, and with the place where the ledger says it lies.

    A dead-lettered object lies where it was before.

    Args:
        objects: in any state.
        raw_keys: object id → the keys that it may have in the data bucket once it is read; without the
            objects whose name is no file name of the facility.
        buckets: in which objects lie.
        settled_before: whatever came into its state earlier has its place (epoch ms).
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
    """The state that an object has where this one lies; None where no object may lie."""
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
"""By their names in their object's folder."""


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
        objects: in any state; those that were rejected or ignored have no records.
        replaced: ids of objects of which a later version was ingested: that one has the records.
        blocks: object id → what lies in its folder of the block bucket.
        validated: of these objects; of others it is left out.
        joined: likewise.
        settled_before: whatever was ingested earlier was joined, unless a message waits.
        blocks_kept_after: blocks of objects that were ingested earlier may have expired, all of an object.
        queued: messages wait for validate or aggregate.
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
    """Compare the rows of an object's blocks with validated records, then the blocks with those written."""
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
    """Object id → name of the device's block → rows."""
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
    """Compare the pulses that windows closed with the shots that are stored, and with their batches.

    Args:
        windows: all of an hour.
        stored: all shots of windows of that hour.
        batches: all of these windows.
        settled_before: what was closed earlier was judged, unless a message waits.
        queued: messages wait for features or inference.
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
    """Compare the files from which things were made with those that the ledger has.

    Args:
        joined_from: what was made (`window …`), and the key of a file from which it was.
        known: those of these keys under which the ledger has an object.
    """
    account = _Account()
    for subject, file in joined_from:
        if file not in known:
            account.wrong(subject, f"has records of {file}, which the ledger does not have")
    return account.outcome()


def _compare_revisions(account: _Account, shot: StoredShot, closed: int, state: ShotState) -> None:
    """A stored shot is at the revision that its window has; an earlier one while the newer is not judged."""
    if shot.revision > closed or (shot.revision < closed and state is ShotState.JUDGED):
        wrong = f"stored at revision {shot.revision}, closed at revision {closed} by its window"
        account.wrong(f"shot {shot.id}", wrong)


# events: stored events, sequence numbers, confirmations


def compare_events(stored: Sequence[StoredEvent], numbers: Numbers, settled_before: int) -> Outcome:
    """Compare the events that were stored in an hour with the sequence numbers, and with confirmations.

    No number may be missing before, between and after the events, up to the next number that is stored.
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
    """Add the missing numbers first..last: one by one those that are reserved, the others as one gap."""
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
    """Whether the bucket holds the version that the ledger means."""
    if _MULTIPART in held.etag or _MULTIPART in known.etag:
        return held.size == known.size
    return held.etag == known.etag
