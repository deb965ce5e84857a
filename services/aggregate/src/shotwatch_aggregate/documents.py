"""Conversion of windows to and from database documents, and of batches to messages."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_aggregate.domain.join import Batch, complete, last_known_on
from shotwatch_aggregate.domain.window import DeviceColumns, Source, Window
from shotwatch_shots.batch import Member, ShotsClosed
from shotwatch_shots.columns import checked_cast, pack, unpack_integers
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place
from shotwatch_shots.pulses import pulses_per_window
from shotwatch_shots.records import BlockRef
from shotwatch_shots.vocabulary import DeviceKind


def to_document(window: Window) -> dict[str, Any]:
    """Return the window as a document, with columns as little-endian bytes. The archive adds its counters."""
    return {
        "_id": window.id,
        "place": str(window.place),
        "interval": window.interval.name,
        "start": window.start,
        "version": window.version,
        "again": window.again,
        "files": sorted({s.object_key for columns in window.devices.values() for s in columns.sources}),
        "revision": pack(window.revision, "<i4"),
        "devices": [_device_document(device, columns) for device, columns in window.devices.items()],
    }


def from_document(document: Mapping[str, Any], interval: Interval) -> Window:
    """Return the stored window.

    Raises:
        Bug: the document is not a valid window.
    """
    try:
        return _window(document, interval)
    except (KeyError, TypeError, ValueError) as error:
        raise Bug(f"window {document.get('_id')} cannot be read: {error!r}") from error


def _window(document: Mapping[str, Any], interval: Interval) -> Window:
    place = Place.parse(document["place"])
    pulses = pulses_per_window(interval)
    return Window(
        place,
        interval,
        document["start"],
        {device["device"]: _columns(device, pulses) for device in document["devices"]},
        _counts(document["revision"], pulses),
        document["version"],
        document["again"],
    )


def to_message(
    batch: Batch, roster: Mapping[str, DeviceKind], on_before: Collection[str], last_arrival: int
) -> ShotsClosed:
    """Return the message that closes the batch; `on_before`: devices that were ON before this window."""
    window, slots = batch.window, batch.slots
    absent = {device: kind for device, kind in roster.items() if device not in window.devices}
    devices = {
        **window.devices,
        **{d: DeviceColumns.empty(k, len(window.revision)) for d, k in absent.items()},
    }
    return ShotsClosed(
        batch_id=f"{window.id}-{window.version}",
        window_id=window.id,
        series=window.series,
        pulses=window.pulses[slots],
        revisions=window.revision[slots],
        complete=complete(window, roster)[slots],
        members=[_member(device, devices[device], slots, device in on_before) for device in sorted(devices)],
        last_arrival=last_arrival,
    )


def _member(device: str, columns: DeviceColumns, slots: NDArray[np.intp], on_before: bool) -> Member:
    return Member(
        device=device,
        kind=columns.kind,
        blocks=[
            BlockRef(bucket=s.bucket, key=s.block, object_id=s.object_id, object_key=s.object_key)
            for s in columns.sources
        ],
        source=columns.source[slots],
        row=columns.row[slots],
        reasons=list(columns.reasons),
        verdict=columns.verdict[slots],
        on=last_known_on(columns, on_before)[slots],
    )


def _device_document(device: str, columns: DeviceColumns) -> dict[str, Any]:
    return {
        "device": device,
        "kind": columns.kind,
        "source": pack(columns.source, "<i2"),
        "row": pack(columns.row, "<i4"),
        "verdict": pack(columns.verdict, "<i4"),
        "on": pack(columns.on, "<u1"),
        "sources": [asdict(source) for source in columns.sources],
        "reasons": list(columns.reasons),
    }


def _columns(document: Mapping[str, Any], pulses: int) -> DeviceColumns:
    return DeviceColumns(
        DeviceKind(document["kind"]),
        _counts(document["source"], pulses),
        _counts(document["row"], pulses),
        _counts(document["verdict"], pulses),
        _counts(document["on"], pulses).astype(bool),
        tuple(Source(**source) for source in document["sources"]),
        tuple(document["reasons"]),
    )


def _counts(data: bytes, pulses: int) -> NDArray[np.int32]:
    return checked_cast(unpack_integers(data, pulses), "<i4")
