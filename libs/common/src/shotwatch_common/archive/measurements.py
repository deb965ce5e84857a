"""Measured features of shots, as columns over the shots of a batch: one document per device and source."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pymongo import ReplaceOne

from shotwatch_common.archive.driver import Database, Document, DocumentCursor, Filter
from shotwatch_common.archive.readable import number, readable, text
from shotwatch_common.archive.secantus_gaps import steps
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.columns import pack
from shotwatch_shots.pulses import WINDOW_MS

_NAME = "measurements"
Values = NDArray[np.float64]
Columns = Mapping[str, Values]
"""Feature → values, (n,); NaN for shots without a value."""


class Source(StrEnum):
    """The source of measurements."""

    FEATURES = "features"
    """The service `features`: measured for every shot."""
    DETAIL = "detail"
    """Detailed measurements, for a fraction of the shots: they take too long for every shot."""
    FLAGGED = "flagged"
    """The same measurements, for anomalous shots."""
    MODEL = "model"
    """The model's scores."""


@dataclass(frozen=True, slots=True)
class Series:
    """Features of one device over time, with one entry per shot that has any of them."""

    pulses: NDArray[np.int64]
    """Epoch ms, ascending, (n,)."""
    columns: Columns


class Measurements:
    """Collection `measurements`: `_id` is batch id, device and source.

    Values are stored in single precision: seven digits, more than any of these instruments resolves.
    """

    def __init__(self, database: Database) -> None:
        self._measurements = database[_NAME]
        # One series at a time: several at once take several times the memory, and are no faster.
        self._sorter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="series")

    async def ensure_indexes(self) -> None:
        await self._measurements.create_index([("batch", 1)])
        await self._measurements.create_index([("device", 1), ("start", 1)])

    async def keep(self, batch: ShotBatch, source: Source, measured: Mapping[str, Columns]) -> None:
        """Write what was measured on each device; repeating the write changes nothing."""
        documents = [_document(batch, source, device, columns) for device, columns in measured.items()]
        replacements = [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents if d["features"]]
        if replacements:
            await self._measurements.bulk_write(replacements, ordered=False)

    async def forget(self, batch_ids: Sequence[str]) -> None:
        """Delete the measurements of batches whose shots have all been closed again."""
        await self._measurements.delete_many({"batch": {"$in": list(batch_ids)}})

    async def of_batch(self, batch_id: str, only: Source | None = None) -> dict[str, Columns]:
        """Return device → its measurements, from all sources or from one.

        Where several sources have a value for a shot, the one read last wins.
        """
        measured: dict[str, dict[str, Values]] = {}
        lengths: dict[str, int] = {}
        found = self._measurements.find({"batch": batch_id})
        async for device, source, shots, columns in readable(found, _measured, _NAME):
            if only not in (None, source) or shots != lengths.setdefault(device, shots):
                continue
            known = measured.setdefault(device, {})
            for name, values in columns.items():
                known[name] = np.where(np.isnan(values), known.get(name, np.nan), values)
        return dict(measured)

    async def series(self, device: str, names: Sequence[str], start_ms: int, end_ms: int) -> Series:
        """Return features of a device for start <= pulse < end (epoch ms), at each shot's newest revision."""
        wanted = dict.fromkeys((*(f"features.{name}" for name in names), "pulses", "revisions"), 1)
        checked = partial(_with_columns, names)
        documents = [
            document
            for begin, stop in steps(start_ms - WINDOW_MS, end_ms)
            async for document in readable(self._starting(device, begin, stop, wanted), checked, _NAME)
        ]
        sort = partial(_newest_series, documents, names, start_ms, end_ms)
        return await asyncio.get_running_loop().run_in_executor(self._sorter, sort)

    async def medians(self, device: str, names: Sequence[str], start_ms: int, end_ms: int) -> Series:
        """Return the median of each batch with start <= first pulse < end (epoch ms), at that pulse.

        This summarizes a long series with few values.
        """
        wanted = dict.fromkeys((*(f"medians.{name}" for name in names), "start"), 1)
        documents = [
            document
            for begin, stop in steps(start_ms, end_ms)
            async for document in readable(self._starting(device, begin, stop, wanted), _with_medians, _NAME)
        ]
        medians = {name: _medians(documents, name) for name in names}
        return _series(medians, start_ms, end_ms)

    def _starting(self, device: str, start_ms: int, end_ms: int, fields: Filter) -> DocumentCursor:
        """Return the measurements of batches with start <= first pulse < end (epoch ms)."""
        starts = {"$gte": start_ms, "$lt": end_ms}
        return self._measurements.find({"device": device, "start": starts}, fields)


def _newest_series(documents: Sequence[Document], names: Sequence[str], start_ms: int, end_ms: int) -> Series:
    """Join and sort the columns of documents. Call it in a thread: a million values take a second."""
    newest = {name: _newest([d for d in documents if name in d.get("features", {})], name) for name in names}
    return _series(newest, start_ms, end_ms)


def _series(known: Mapping[str, tuple[NDArray[np.int64], Values]], start_ms: int, end_ms: int) -> Series:
    """Return features that have pulses of their own as columns over the pulses that any of them has."""
    pulses = np.unique(np.concatenate([np.empty(0, np.int64), *(times for times, _ in known.values())]))
    pulses = pulses[(pulses >= start_ms) & (pulses < end_ms)]
    return Series(pulses, {name: _aligned(pulses, *column) for name, column in known.items()})


def of_shot(measured: Mapping[str, Columns], shot: int) -> dict[str, dict[str, float]]:
    """Return device → feature → value of one shot of a batch; what could not be measured is left out."""
    values = {
        device: {
            name: _plain(column[shot])
            for name, column in columns.items()
            if shot < len(column) and np.isfinite(column[shot])
        }
        for device, columns in measured.items()
    }
    return {device: features for device, features in values.items() if features}


def _document(batch: ShotBatch, source: Source, device: str, columns: Columns) -> Document:
    measured = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    return {
        "_id": f"{batch.batch_id}/{device}/{source}",
        "batch": batch.batch_id,
        "device": device,
        "source": source.value,
        "start": int(batch.pulses.min()),
        "pulses": pack(batch.pulses, "<i8"),
        "revisions": pack(batch.revisions, "<i4"),
        "features": {name: pack(values, "<f4") for name, values in measured.items()},
        "medians": {name: float(np.nanmedian(values)) for name, values in measured.items()},
    }


def _plain(value: np.float64) -> float:
    """Round a value to the digits that single precision has."""
    return float(f"{value:.7g}")


def _measured(document: Document) -> tuple[str, Source, int, dict[str, Values]]:
    """Return device, source and number of shots of a document, and its columns."""
    columns = {name: _unpacked(data) for name, data in document["features"].items()}
    shots = len(np.frombuffer(document["pulses"], "<i8"))
    if any(len(values) != shots for values in columns.values()):
        raise ValueError(f"a column does not have one value for each of {shots} shots")
    return text(document["device"]), Source(document["source"]), shots, columns


def _with_columns(names: Sequence[str], document: Document) -> Document:
    """Return a document whose columns of these names can be joined with those of others."""
    shots = len(np.frombuffer(document["pulses"], "<i8"))
    columns = [document["features"][name] for name in names if name in document.get("features", {})]
    if len(np.frombuffer(document["revisions"], "<i4")) != shots or any(
        len(_unpacked(column)) != shots for column in columns
    ):
        raise ValueError(f"a column does not have one value for each of {shots} shots")
    return document


def _with_medians(document: Document) -> Document:
    medians = {name: float(value) for name, value in document.get("medians", {}).items()}
    return {"start": number(document["start"]), "medians": medians}


def _medians(documents: Sequence[Document], name: str) -> tuple[NDArray[np.int64], Values]:
    medians = {d["start"]: d["medians"][name] for d in documents if name in d.get("medians", {})}
    starts = sorted(medians)
    return np.array(starts, np.int64), np.array([medians[start] for start in starts], np.float64)


def _unpacked(data: bytes) -> Values:
    return np.frombuffer(data, "<f4").astype(np.float64)


def _newest(documents: Sequence[Document], name: str) -> tuple[NDArray[np.int64], Values]:
    """Return pulses and values of one feature; for each pulse, the value of its highest revision."""
    if not documents:
        return np.empty(0, np.int64), np.empty(0)
    pulses = np.concatenate([np.frombuffer(d["pulses"], "<i8") for d in documents])
    revisions = np.concatenate([np.frombuffer(d["revisions"], "<i4") for d in documents])
    values = np.concatenate([_unpacked(d["features"][name]) for d in documents])
    # Sort by pulse, then by revision, and keep the last entry of each pulse.
    order = np.lexsort((revisions, pulses))
    last = np.append(np.diff(pulses[order]) > 0, True)
    return pulses[order][last], values[order][last]


def _aligned(pulses: NDArray[np.int64], known: NDArray[np.int64], values: Values) -> Values:
    aligned = np.full(len(pulses), np.nan)
    # Pulses that are not known keep NaN; `known` is sorted, so `searchsorted` finds the others.
    where = np.flatnonzero(np.isin(pulses, known))
    aligned[where] = values[np.searchsorted(known, pulses[where])]
    return aligned
