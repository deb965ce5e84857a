"""The verification of a reader's reply, for the case that a hostile file has taken over its reader.

Such a reader can report false records of its file. It cannot report anything that a file of this name may not
hold: every name, number and length is checked against the facility file and against the other parts of the
reply. Whatever bytes it wrote as columns, they are numbers of the expected types.
"""

from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.block import MAX_DATA_BYTES
from shotwatch_common.printable import printable
from shotwatch_ingest.domain.expectation import Expectation, Skip
from shotwatch_ingest.domain.inventory import MAX_EXAMPLES
from shotwatch_ingest.domain.snapshot import (
    MAX_STATE_BYTES,
    MAX_STATES,
    columns_of,
    record_bytes,
)
from shotwatch_ingest.readers.exchange import MAX_TEXT, ReadDevice, ReadFile, Request, written_columns
from shotwatch_shots.device_kinds import DEVICE_KINDS
from shotwatch_shots.facility import Facility, FileName
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import MOST_WINDOWS, NO_STATE, window_count
from shotwatch_shots.vocabulary import SkipReason

_BYTES_PER_ESCAPE = 4
"""Number of characters in which a byte of a state is displayed, at most: `\\x1b`."""


def require_possible(found: ReadFile, request: Request, facility: Facility, written_bytes: int) -> None:
    """Check that a file of this name may hold the records, and that their columns were written.

    Raises:
        ValueError: it may not, or fewer bytes were written; the message names the device and the problem.
    """
    name, key, latest_ms = request
    expectation = Expectation(key, name, facility, latest_ms)
    groups = [device.device for device in found.devices]
    _require(0 < len(groups) == len(set(groups)), "it has no device, or one of them twice")
    for device in found.devices:
        try:
            _require_expected(device, expectation, name)
            _require_consistent(device, facility)
        except (Skip, ValueError) as problem:
            raise ValueError(f"{printable(device.device)}: {problem}") from problem
    windows = window_count(((device.series, device.times) for device in found.devices), facility.interval)
    _require(windows <= MOST_WINDOWS, f"it has records in {windows} windows")
    size = sum(column.size for column in chain(*written_columns(found.devices, facility)))
    _require(size <= written_bytes, f"its columns have {size} bytes, of which {written_bytes} were written")
    _require(len(found.examples) <= MAX_EXAMPLES * len(SkipReason), "it has too many examples")
    _require_texts(text for each in found.examples for text in (each.where, each.detail))


def _require_expected(device: ReadDevice, expectation: Expectation, name: FileName) -> None:
    expected = expectation.device(device.device.encode())
    series = ShotSeries(place=expected.place, interval=name.interval)
    _require((device.device, device.kind) == (expected.group, expected.kind), f"is no {device.kind}")
    _require(device.series == series, f"belongs to {series}")
    _require(0 < len(device.times) <= expectation.max_records, f"has {len(device.times)} records")
    _require(bool((device.times[:-1] <= device.times[1:]).all()), "has times that do not ascend")
    for time in (device.times[0], device.times[-1]):
        expectation.require_time(int(time))


def _require_consistent(device: ReadDevice, facility: Facility) -> None:
    count = len(device.times)
    size = count * record_bytes(device.device, facility)
    _require(size <= MAX_DATA_BYTES, f"has {size} bytes of data")
    _require(len(device.state) == count, f"has {len(device.state)} states of {count} records")
    _require_within(device.state, NO_STATE, len(device.states))
    _require(len(set(device.states)) == len(device.states) <= MAX_STATES, "has equal states, or too many")
    _require_texts(device.states, MAX_STATE_BYTES * _BYTES_PER_ESCAPE)
    # Of each record, at most one problem of its state and of each column is reported.
    most = count * (1 + len(columns_of(device.device, facility)))
    _require(len(device.problems) <= most, f"has {len(device.problems)} problems")
    # Unlike a column, a row may be a number of any size here, which no array holds.
    possible = all(0 <= problem.row < count for problem in device.problems)
    _require(possible, f"has a number outside 0..{count - 1}")
    _require_texts(problem.detail for problem in device.problems)
    expected = DEVICE_KINDS[device.kind].digest or type(None)
    _require(isinstance(device.digest, expected), "has another kind of digest")
    for name, values in device.digest or ():
        _require(name == "role" or len(values) == count, f"has {len(values)} {name} of {count} records")


def _require_within(values: NDArray[np.int64], first: int, end: int) -> None:
    _require(bool(((values >= first) & (values < end)).all()), f"has a number outside {first}..{end - 1}")


def _require_texts(texts: Iterable[str], longest: int = MAX_TEXT) -> None:
    for text in texts:
        _require(len(text) <= longest and printable(text) == text, "has a text that cannot be displayed")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
