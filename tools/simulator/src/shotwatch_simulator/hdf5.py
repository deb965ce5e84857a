"""Write records into HDF5 files of both layouts of the facility.

Objects are created through h5py's low-level API, and frames are compressed here rather than by HDF5's
filters. A file of 600 timestamps holds 2,400 objects, and their names cost more than their data.
"""

import math
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from h5py import h5d, h5f, h5g, h5p, h5s, h5t
from numpy.typing import NDArray

from shotwatch_shots.pulses import Times

Array = NDArray[np.generic]

_DEFLATE_LEVEL = 4


@dataclass(frozen=True, slots=True)
class SnapshotRecords:
    """Records of one device, in the order of time: n entries in every column."""

    times: Times
    """Epoch ms."""
    states: NDArray[np.bytes_]
    data: dict[str, Array]
    """Dataset name → (n, ...) array."""


def write_snapshot(path: Path, group: str, state_dataset: str, batches: Iterable[SnapshotRecords]) -> None:
    """Write `/{HH-MM-SS-mmm}/{group}/{dataset}`: one recorder's file with one device."""
    with closing(_created(path)) as file:
        for records in batches:
            columns = {state_dataset: records.states, **records.data}
            rows = [_rows(name, column) for name, column in columns.items()]
            for stamp, *cells in zip(timestamps(records.times), *rows, strict=True):
                device = h5g.create(h5g.create(file, stamp), group.encode())
                for cell in cells:
                    cell.write(device)


def _created(path: Path) -> h5f.FileID:
    access = h5p.create(h5p.FILE_ACCESS)
    # Closing the file closes all objects in it that are still open.
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    return h5f.create(bytes(path), h5f.ACC_TRUNC, fapl=access)


def timestamps(times: Times) -> list[bytes]:
    """Return times of day as `HH-MM-SS-mmm`."""
    return [
        text[11:].replace(":", "-").replace(".", "-").encode()
        for text in np.datetime_as_string(times.astype("datetime64[ms]"))
    ]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Common properties of the datasets of one column."""

    name: bytes
    type: h5t.TypeID
    space: h5s.SpaceID
    creation: h5p.PropDCID


@dataclass(frozen=True, slots=True)
class _Cell:
    """One dataset to write: plain values, or one chunk that is already filtered."""

    layout: _Layout
    values: Array | None = None
    chunk: bytes = b""

    def write(self, parent: h5g.GroupID) -> None:
        layout = self.layout
        dataset = h5d.create(parent, layout.name, layout.type, layout.space, layout.creation)
        if self.values is None:
            dataset.write_direct_chunk((0,) * layout.space.get_simple_extent_ndims(), self.chunk)
        else:
            dataset.write(h5s.ALL, h5s.ALL, self.values)


def _rows(name: str, column: Array) -> list[_Cell]:
    """Return the datasets of a column: arrays shuffled and deflated in one chunk, scalars plain."""
    shape = column.shape[1:]
    compressed = math.prod(shape) > 1
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    if compressed:
        creation.set_chunk(shape)
        creation.set_shuffle()
        creation.set_deflate(_DEFLATE_LEVEL)
    space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
    layout = _Layout(name.encode(), h5t.py_create(column.dtype), space, creation)
    if compressed:
        return [_Cell(layout, chunk=zlib.compress(row, _DEFLATE_LEVEL)) for row in _shuffled(column)]
    return [_Cell(layout, np.asarray(row)) for row in column]


def _shuffled(column: Array) -> NDArray[np.uint8]:
    """Apply HDF5's shuffle filter to every row: first bytes of all values, then second bytes, ..."""
    values = np.ascontiguousarray(column).reshape(len(column), -1)
    octets = values.view(np.uint8).reshape(*values.shape, column.dtype.itemsize)
    return np.ascontiguousarray(octets.transpose(0, 2, 1))
