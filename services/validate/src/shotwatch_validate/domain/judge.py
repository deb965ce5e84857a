"""The judge: a verdict on each record, and the reason for each refusal.

A record counts only while its device's state is ON. The state is therefore checked first, then whether the
data could be read, then the data themselves.
"""

from collections.abc import Iterator

import numpy as np

from shotwatch_shots.device_kinds import ImageDigest
from shotwatch_shots.facility import Facility, StatePolicy
from shotwatch_shots.records import (
    MOST_DETAILED_REASONS,
    NO_STATE,
    VALID,
    DeviceRecords,
    JudgedRecords,
    RecordColumns,
    reason_code,
)
from shotwatch_shots.vocabulary import RecordReason
from shotwatch_validate.domain.rules import Context, Mask, broken_rules


def judge(
    records: DeviceRecords, facility: Facility, previous_fingerprint: int | None = None
) -> JudgedRecords:
    """Judge the records of one device; if several reasons apply to a record, the first counts.

    Args:
        records: in order of time.
        facility: defines what counts as ON, black, saturated and out of range.
        previous_fingerprint: of the device's last frame before these; a first frame equal to it is frozen.
    """
    verdict = np.full(len(records.state), VALID)
    reasons: list[str] = []
    for reason, rows in _findings(records, facility, previous_fingerprint):
        refused = rows & (verdict == VALID)
        if refused.any():
            verdict[refused] = reason_code(reasons, reason)
    shared = {name: getattr(records, name) for name in RecordColumns.model_fields}
    return JudgedRecords(**shared, block=records.block, reasons=reasons, verdict=verdict)


def last_fingerprint(records: DeviceRecords) -> int | None:
    """Return the fingerprint of the last frame that could be read; None for devices without frames."""
    if not isinstance(records.digest, ImageDigest):
        return None
    fingerprints = records.digest.fingerprint[records.readable]
    return int(fingerprints[-1]) if len(fingerprints) else None


def _findings(
    records: DeviceRecords, facility: Facility, previous_fingerprint: int | None
) -> Iterator[tuple[str, Mask]]:
    yield from _not_on(records, facility.state)
    yield from _problems(records, of_state=True)
    yield RecordReason.STATE_MISSING, records.state == NO_STATE
    yield from _problems(records, of_state=False)
    if records.digest is not None:
        datasets = facility.device_type(records.device).datasets
        context = Context(datasets, facility.frames, records.readable, previous_fingerprint)
        yield from broken_rules(records.digest, context)


def _not_on(records: DeviceRecords, policy: StatePolicy) -> Iterator[tuple[str, Mask]]:
    """Yield the records in each state that is not ON, broken states first; the last states combined."""
    numbers = [number for number, state in enumerate(records.states) if state != policy.on]
    numbers.sort(key=lambda number: records.states[number] not in policy.broken)
    for number in numbers[:MOST_DETAILED_REASONS]:
        yield f"{RecordReason.STATE_NOT_ON}: {records.states[number]}", records.state == number
    yield RecordReason.STATE_NOT_ON, np.isin(records.state, numbers[MOST_DETAILED_REASONS:])


def _problems(records: DeviceRecords, of_state: bool) -> Iterator[tuple[str, Mask]]:
    """Yield the records with each problem found on reading, of the states or of the data."""
    rows: dict[str, list[int]] = {}
    for problem in records.problems:
        if (problem.reason == RecordReason.STATE_MISSING) is of_state:
            reason = f"{problem.reason}: {problem.detail}"
            if reason not in rows and len(rows) >= MOST_DETAILED_REASONS:
                reason = problem.reason
            rows.setdefault(reason, []).append(problem.row)
    for reason, where in rows.items():
        yield reason, _mask(where, len(records.state))


def _mask(rows: list[int], count: int) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask
