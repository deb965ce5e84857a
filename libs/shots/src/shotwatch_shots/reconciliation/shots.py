"""Compare windows, stored shots and batches. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from shotwatch_shots.reconciliation.outcome import Outcome, OutcomeBuilder
from shotwatch_shots.reconciliation.sides import ClosedShots, ClosedWindow, StoredShot
from shotwatch_shots.vocabulary import ShotState


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
    account = OutcomeBuilder()
    for subject, file in joined_from:
        if file not in known:
            account.wrong(subject, f"has records of {file}, which the ledger does not have")
    return account.outcome()


def _compare_revisions(account: OutcomeBuilder, shot: StoredShot, closed: int, state: ShotState) -> None:
    """Check the revision of a stored shot: its window's, or an earlier one until the batch is judged."""
    if shot.revision > closed or (shot.revision < closed and state is ShotState.JUDGED):
        wrong = f"stored at revision {shot.revision}, closed at revision {closed} by its window"
        account.wrong(f"shot {shot.id}", wrong)
