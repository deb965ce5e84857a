"""Compare windows, stored shots and batches. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from shotwatch_shots.reconciliation.outcome import Outcome, OutcomeBuilder
from shotwatch_shots.reconciliation.sides import (
    ClosedShots,
    ClosedWindow,
    FileVersion,
    StoredShot,
    WindowOfBatch,
)
from shotwatch_shots.vocabulary import ShotState


class _Closing(NamedTuple):
    """A closing of a shot: the batch that has the shot, and its place among the shots of the batch."""

    batch: ClosedShots
    place: int


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
    account = OutcomeBuilder()
    account.counts |= {"closed": 0, "stored": 0, **dict.fromkeys(map(str, ShotState), 0)}
    closing = _closings(account, batches, {window.id: window for window in windows}, settled_before)
    shots: defaultdict[str, dict[int, StoredShot]] = defaultdict(dict)
    for each in stored:
        shots[each.window_id][each.pulse] = each
        account.counts["stored"] += 1
    for window in windows:
        _compare_window(account, window)
        of_window = shots.pop(window.id, {})
        sending = 0 < window.sending_since >= settled_before
        for pulse, revision in window.revisions.items():
            account.counts["closed"] += 1
            closed = closing.get((window.id, pulse, revision))
            subject = f"shot of {window.id} at {pulse}"
            if closed is None:
                account.late(subject, f"closed at revision {revision}, and in no batch", sending)
                of_window.pop(pulse, None)
                continue
            batch = closed.batch
            account.counts[batch.state] += 1
            shot = of_window.pop(pulse, None)
            if batch.state is ShotState.WAITING:
                recent = batch.closed_at >= settled_before
                account.late(subject, f"closed in batch {batch.batch_id}, and never judged", queued or recent)
            elif batch.state is ShotState.JUDGED and shot is None:
                account.wrong(subject, f"judged in batch {batch.batch_id}, and not stored")
            if shot is not None:
                _compare_revisions(account, shot, revision, batch.state)
                _compare_batch(account, shot, revision, closed)
        for each in of_window.values():
            account.wrong(f"shot {each.id}", f"stored, and not closed in window {window.id}")
    for window_id, of_window in shots.items():
        for each in of_window.values():
            account.wrong(f"shot {each.id}", f"stored, and there is no window {window_id}")
    return account.outcome()


def compare_shot_ids(stored: Iterable[StoredShot]) -> Outcome:
    """Check that the ids of shots and of their windows follow from their place, interval and pulse."""
    account = OutcomeBuilder()
    for each in stored:
        if not each.is_consistent:
            follows = f"shot {each.expected_id} of window {each.expected_window}"
            account.wrong(
                f"shot {each.id}", f"stored for window {each.window_id}, with the data of {follows}"
            )
    return account.outcome()


def compare_batches_without_window(
    batches: Iterable[WindowOfBatch], windows: Collection[str], expired_before: int
) -> Outcome:
    """Check that there is a window for each batch.

    Args:
        batches: the batches.
        windows: ids of those of their windows that exist.
        expired_before: shots that were judged earlier are being deleted, their windows first (epoch ms).
    """
    account = OutcomeBuilder()
    for each in batches:
        is_deleted = 0 < each.judged_at < expired_before
        if each.window_id not in windows and not is_deleted:
            account.wrong(f"batch {each.batch_id}", f"stored, and there is no window {each.window_id}")
    return account.outcome()


def compare_files(
    joined_from: Iterable[tuple[str, FileVersion]], known: Mapping[str, Collection[str]]
) -> Outcome:
    """Compare the file versions from which things were made with those that the ledger has.

    Args:
        joined_from: what was made (`window …`), and a file version that it was made from.
        known: those of the files' keys under which the ledger has objects, with the ids of these objects.
    """
    account = OutcomeBuilder()
    for subject, file in joined_from:
        if file.key not in known:
            account.wrong(subject, f"has records of {file.key}, which the ledger does not have")
        elif file.object_id not in known[file.key]:
            unknown = f"object {file.object_id}, which the ledger does not have"
            account.wrong(subject, f"has records of {unknown} under the key {file.key}")
    return account.outcome()


def _closings(
    account: OutcomeBuilder,
    batches: Iterable[ClosedShots],
    windows: Mapping[str, ClosedWindow],
    settled_before: int,
) -> Mapping[tuple[str, int, int], _Closing]:
    """Return each closing of a shot by its window, pulse and revision.

    Check that each batch belongs to its window, and that each closing has one batch.
    """
    closings: dict[tuple[str, int, int], _Closing] = {}
    for batch in batches:
        window, subject = windows.get(batch.window_id), f"batch {batch.batch_id}"
        if batch.batch_id.rpartition("-")[0] != batch.window_id:
            account.wrong(subject, f"stored for window {batch.window_id}, and has the id of another window's")
        revisions = window.revisions if window else {}
        open_shots = sum(revisions.get(pulse, 0) < revision for pulse, revision in batch.revisions.items())
        if open_shots:
            wrong = f"has {open_shots} shots that window {batch.window_id} did not close"
            account.late(subject, wrong, batch.closed_at >= settled_before)
        again = {
            known.batch_id
            for place, (pulse, revision) in enumerate(batch.revisions.items())
            if (
                known := closings.setdefault((batch.window_id, pulse, revision), _Closing(batch, place)).batch
            )
            is not batch
        }
        for other in sorted(again):
            account.wrong(subject, f"has shots that batch {other} has at the same revision")
    return closings


def _compare_window(account: OutcomeBuilder, window: ClosedWindow) -> None:
    """Check that a window has the place and time of its id, and that its list of files names its sources."""
    if window.id != window.expected_id:
        account.wrong(f"window {window.id}", f"has place, interval and start of window {window.expected_id}")
    if differing := {source.key for source in window.sources} ^ set(window.files):
        account.wrong(f"window {window.id}", f"its list of files and its sources differ in {min(differing)}")


def _compare_revisions(account: OutcomeBuilder, shot: StoredShot, closed: int, state: ShotState) -> None:
    """Check the revision of a stored shot: its window's, or an earlier one until the batch is judged."""
    if shot.revision > closed or (shot.revision < closed and state is ShotState.JUDGED):
        wrong = f"stored at revision {shot.revision}, closed at revision {closed} by its window"
        account.wrong(f"shot {shot.id}", wrong)


def _compare_batch(account: OutcomeBuilder, shot: StoredShot, revision: int, closed: _Closing) -> None:
    """Check that a shot at the revision of its window names the batch that closed it, and its place there."""
    batch_id = closed.batch.batch_id
    if shot.revision == revision and (shot.batch_id, shot.index) != (batch_id, closed.place):
        stored = f"stored as number {shot.index} of batch {shot.batch_id}"
        account.wrong(f"shot {shot.id}", f"{stored}, closed as number {closed.place} of batch {batch_id}")
