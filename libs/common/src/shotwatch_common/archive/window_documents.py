"""The documents of the collection `windows`, as classes of libs/shots and back."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.archive.driver import Document
from shotwatch_common.archive.readable import id_of, number, text, texts
from shotwatch_common.archive.unused_sources import source_id
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.columns import checked_cast, pack, unpack_integers
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import duration_ms
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import WINDOW_MS, pulses_per_window, window_id
from shotwatch_shots.reconciliation.sides import ClosedWindow, FileVersion, JoinedRows
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.window import DeviceColumns, RecordSource, Window


def decoded_rows(document: Document) -> list[tuple[str, JoinedRows]]:
    """Return the id and the rows of each source of a window."""
    joined: list[tuple[str, JoinedRows]] = []
    for device in document["devices"]:
        name, source = text(device["device"]), np.frombuffer(device["source"], "<i2")
        refused = unpack_integers(device["verdict"], len(source)) != VALID
        for n, each in enumerate(device["sources"]):
            of_source, object_id = refused[source == n], text(each["object_id"])
            rows = int((~of_source).sum()), int(of_source.sum()), number(each["displaced"])
            id_ = source_id(id_of(document), name, object_id)
            joined.append((id_, JoinedRows(object_id, name, *rows)))
    return joined


def decoded_closed(document: Document) -> ClosedWindow:
    """Return the closed pulses of a window."""
    revision, period = np.frombuffer(document["revision"], "<i4"), duration_ms(document["interval"])
    start, series = number(document["start"]), decoded_series(document)
    sources = [each for device in document["devices"] for each in device["sources"]]
    if len(revision) != -(-WINDOW_MS // period):
        raise ValueError(f"a window of {document['interval']} has not {len(revision)} pulses")
    closed = {start + period * int(n): int(revision[n]) for n in np.flatnonzero(revision)}
    return ClosedWindow(
        id_of(document),
        window_id(series, start),
        closed,
        number(document["outbox_since"]),
        texts(document["files"]),
        frozenset(FileVersion(text(each["object_key"]), text(each["object_id"])) for each in sources),
    )


def to_document(window: Window) -> Document:
    """Return the window as a document, with columns as little-endian bytes. The repository adds its times."""
    sources = [source for columns in window.devices.values() for source in columns.sources]
    return {
        "_id": window.id,
        "place": str(window.place),
        "interval": window.interval.name,
        "start": window.start,
        "version": window.version,
        "again": window.again,
        "files": sorted({source.block.object_key for source in sources}),
        "revision": pack(window.revision, "<i4"),
        "devices": [_device_document(device, columns) for device, columns in sorted(window.devices.items())],
        "outbox": {id_: batch.model_dump_json().encode() for id_, batch in window.outbox.items()},
        "traceparent": window.traceparent,
    }


def from_document(document: Document, interval_of: Callable[[str], Interval]) -> Window:
    """Return the stored window.

    Raises:
        Bug: the document is not a valid window.
    """
    try:
        return _window(document, interval_of(document["interval"]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise Bug(f"window {document.get('_id')} cannot be read: {error!r}") from error


def _window(document: Document, interval: Interval) -> Window:
    pulses = pulses_per_window(interval)
    return Window(
        Place.parse(document["place"]),
        interval,
        number(document["start"]),
        {text(device["device"]): _columns(device, pulses) for device in document["devices"]},
        _counts(document["revision"], pulses),
        number(document["version"]),
        bool(document["again"]),
        {id_: ShotBatch.model_validate_json(batch) for id_, batch in document["outbox"].items()},
        text(document["traceparent"]),
    )


def _device_document(device: str, columns: DeviceColumns) -> Document:
    return {
        "device": device,
        "kind": columns.kind,
        "source": pack(columns.source, "<i2"),
        "row": pack(columns.row, "<i4"),
        "verdict": pack(columns.verdict, "<i4"),
        "on": pack(columns.on, "<u1"),
        "sources": [_source_document(source) for source in columns.sources],
        "reasons": list(columns.reasons),
    }


def _columns(document: Document, pulses: int) -> DeviceColumns:
    return DeviceColumns(
        DeviceKind(document["kind"]),
        _counts(document["source"], pulses),
        _counts(document["row"], pulses),
        _counts(document["verdict"], pulses),
        _counts(document["on"], pulses).astype(bool),
        tuple(_source(source) for source in document["sources"]),
        texts(document["reasons"]),
    )


def _source_document(source: RecordSource) -> Document:
    block = source.block
    return {
        "bucket": block.bucket,
        "block": block.key,
        "object_id": block.object_id,
        "object_key": block.object_key,
        "crc32": block.crc32,
        "arrived_at": source.arrived_at,
        "traceparent": source.traceparent,
        "displaced": source.displaced,
    }


def _source(stored: Document) -> RecordSource:
    block = BlockRef(
        bucket=stored["bucket"],
        key=stored["block"],
        object_id=stored["object_id"],
        object_key=stored["object_key"],
        crc32=stored.get("crc32"),
    )
    arrived_at, displaced = number(stored["arrived_at"]), number(stored["displaced"])
    return RecordSource(block, arrived_at, text(stored["traceparent"]), displaced)


def _counts(data: bytes, pulses: int) -> NDArray[np.int32]:
    return checked_cast(unpack_integers(data, pulses), "<i4")


def decoded_series(document: Document) -> ShotSeries:
    """Return the series of a window."""
    return ShotSeries(place=Place.parse(document["place"]), interval=document["interval"])
