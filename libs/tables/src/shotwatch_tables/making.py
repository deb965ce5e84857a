"""The table of shots, made from what the archive has of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shotwatch_shots.batch import ABSENT, Indices, Member, ShotBatch
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.records import VALID
from shotwatch_shots.shot import JudgedShot
from shotwatch_tables.announced import Announced
from shotwatch_tables.schema import TEXTS, ShotTableSchema

_NS_PER_MS = 1_000_000

Measured = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""Device → feature → values over the shots of a batch, (n,); NaN for shots without a value."""


@dataclass(frozen=True, slots=True)
class MeasuredBatch:
    """A batch of shots with its measurements."""

    batch: ShotBatch
    measured: Measured


@dataclass(frozen=True, slots=True)
class _BatchRows:
    """The shots of a table that belong to one batch."""

    rows: Indices
    """Their rows in the table."""
    shots: Indices
    """Their indices in the batch."""
    of: MeasuredBatch


class _Words:
    """A column of text in which few texts repeat; missing where nothing was put."""

    def __init__(self, rows: int) -> None:
        self._codes = np.full(rows, -1, np.int32)
        self._words: dict[str, int] = {}

    def put(self, rows: Indices, texts: Sequence[str], chosen: NDArray[np.int64]) -> None:
        """Set `texts[chosen[n]]` at `rows[n]`."""
        if len(rows):
            codes = np.array([self._words.setdefault(text, len(self._words)) for text in texts], np.int32)
            self._codes[rows] = codes[chosen]

    def array(self) -> pa.DictionaryArray:
        codes = pa.array(self._codes, mask=self._codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(list(self._words), pa.string()))


def make_table(
    schema: ShotTableSchema,
    shots: Sequence[JudgedShot],
    batches: Mapping[str, MeasuredBatch],
    events: Sequence[AnomalyEvent],
) -> pa.Table:
    """Return the table of shots of one place: one row for each, sorted by time, then by id.

    Args:
        schema: the columns of the place. What is measured of other devices is left out.
        shots: the shots, each once.
        batches: batch id → batch. Where the batch of a shot is not given, the columns of devices are missing.
        events: all events about these shots, and those of each incident that they may belong to.
    """
    in_order = sorted(shots, key=lambda shot: (shot.pulse, shot.id))
    parts = list(_parts(in_order, batches))
    columns = _shot_columns(in_order, events)
    for group, name in schema.devices.items():
        for of_record, array in _member_columns(group, parts, len(in_order)).items():
            columns[f"{name}.{of_record}"] = array
    for name, column in schema.by_name.items():
        if name not in columns:
            columns[name] = _feature(column.device, column.of_device, parts, len(in_order))
    return pa.table([columns[name] for name in schema.arrow.names], schema=schema.arrow)


def _parts(shots: Sequence[JudgedShot], batches: Mapping[str, MeasuredBatch]) -> Iterator[_BatchRows]:
    rows: dict[str, list[int]] = defaultdict(list)
    for n, shot in enumerate(shots):
        rows[shot.batch].append(n)
    for batch, of_batch in rows.items():
        if batch in batches:
            indices = np.array([shots[n].index for n in of_batch], np.intp)
            yield _BatchRows(np.array(of_batch, np.intp), indices, batches[batch])


def _shot_columns(shots: Sequence[JudgedShot], events: Sequence[AnomalyEvent]) -> dict[str, pa.Array]:
    valid = Announced.of(events)
    return {
        "shot": pa.array([shot.id for shot in shots], pa.string()),
        "time": pa.array([shot.pulse * _NS_PER_MS for shot in shots], pa.timestamp("ns", "UTC")),
        "interval": _words([shot.series.interval for shot in shots]),
        "revision": pa.array([shot.revision for shot in shots], pa.int32()),
        "complete": pa.array([shot.complete for shot in shots], pa.bool_()),
        "missing": _texts([shot.missing for shot in shots]),
        "score": pa.array([shot.verdict.score for shot in shots], pa.float64()),
        "threshold": pa.array([shot.verdict.threshold for shot in shots], pa.float64()),
        "anomalous": pa.array([bool(shot.verdict.kinds) for shot in shots], pa.bool_()),
        "severity": _words([shot.verdict.severity for shot in shots]),
        "kinds": _texts([shot.verdict.kinds for shot in shots]),
        "events": _texts([valid.events(shot) for shot in shots]),
        "incidents": _texts([valid.incidents(shot) for shot in shots]),
        "model": _words([shot.model.version if shot.model else None for shot in shots]),
        "trace_id": pa.array([shot.trace_id for shot in shots], pa.string()),
        "judged_at": pa.array([shot.judged_at for shot in shots], pa.timestamp("ms", "UTC")),
    }


def _words(texts: Sequence[str | None]) -> pa.DictionaryArray:
    return pa.array(texts, pa.string()).dictionary_encode()


def _texts(texts: Sequence[Sequence[str]]) -> pa.ListArray:
    return pa.array([list(map(str, each)) for each in texts], TEXTS)


def _member_columns(device: str, parts: Sequence[_BatchRows], rows: int) -> dict[str, pa.Array]:
    """Return the columns of a device's record; missing for shots to which the device does not belong."""
    verdict, raw_object, block = _Words(rows), _Words(rows), _Words(rows)
    on, known = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    row, present = np.zeros(rows, np.int32), np.zeros(rows, np.bool_)
    for part in parts:
        member = next((each for each in part.of.batch.members if each.device == device), None)
        if member is None:
            continue
        known[part.rows], on[part.rows] = True, member.on[part.shots]
        verdict.put(part.rows, ["missing", "valid", *member.reasons], _verdicts(member, part.shots))
        there = member.source[part.shots] != ABSENT
        rows_there, shots_there = part.rows[there], part.shots[there]
        present[rows_there], row[rows_there] = True, member.row[shots_there]
        raw_object.put(rows_there, [ref.object_key for ref in member.blocks], member.source[shots_there])
        block.put(rows_there, [ref.key for ref in member.blocks], member.source[shots_there])
    return {
        "verdict": verdict.array(),
        "on": pa.array(on, mask=~known),
        "raw_object": raw_object.array(),
        "block": block.array(),
        "row": pa.array(row, mask=~present),
    }


def _verdicts(member: Member, shots: Indices) -> NDArray[np.int64]:
    """Return the verdict on each shot's record: 0 if it is missing, 1 if it is valid, else 1 + its reason."""
    return np.where(member.source[shots] == ABSENT, 0, member.verdict[shots] - VALID + 1)


def _feature(device: str, feature: str, parts: Sequence[_BatchRows], rows: int) -> pa.Array:
    values = np.full(rows, np.nan, np.float32)
    for part in parts:
        measured = part.of.measured.get(device, {}).get(feature)
        if measured is not None:
            values[part.rows] = measured[part.shots]
    return pa.array(values, mask=np.isnan(values))
