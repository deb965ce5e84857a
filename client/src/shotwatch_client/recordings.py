"""Frames and spectra: sequences of arrays that are read when they are asked for."""

import warnings
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, overload
from urllib.parse import quote

import numpy as np
import pandas as pd

from shotwatch_client.arrays import Array, read_npy, read_npz
from shotwatch_client.errors import InvalidArgument, MissingRecords, NoData, UnexpectedAnswer
from shotwatch_client.rest import AT_ONCE, Rest, describe
from shotwatch_client.shot_list import ListedShot, ShotList
from shotwatch_client.tables import TIME
from shotwatch_client.times import epoch_ms

LARGEST_SLICE_BYTES = 2**31
"""Maximum size of a slice."""
LARGEST_ARRAY_BYTES = 64 * 2**20
"""Maximum size of an answer while the size of the device's arrays is not known."""
BULK_BYTES = 16 * 2**20
"""Size of the frames that are asked for in one request."""
MOST_IN_BULK = 1000
"""Maximum number of frames in one request."""
FIRST_IN_BULK = 16
"""Maximum number of frames in one request while their size is not known."""
AT_A_TIME = 256
"""Number of arrays of known size, read one by one, that are held before they are put in."""
Masked = np.ma.MaskedArray[Any, Any]
"""Arrays (n, …), of which some may be masked."""
_HEADER_BYTES = 4096
_BYTES_PER_SHOT = 1024
"""Bytes for the id and the time of a shot in an archive of frames: more than the longest id has."""


class Recorded(StrEnum):
    """The kind of array that a device records in each shot, as in the path of its route."""

    IMAGE = "image"
    SPECTRUM = "spectrum"


class Gathered:
    """Arrays of equal shape, gathered in one."""

    def __init__(self, asked: str, count: int) -> None:
        self._asked = asked
        self._count = count
        self.missing = np.ones(count, np.bool_)
        """Which arrays have not been put in, (count,)."""
        self.arrays: Array | None = None
        """(count, …); None before the first."""

    @property
    def bytes_of_one(self) -> int | None:
        """Size of one array; None before the first."""
        return None if self.arrays is None else self.arrays[0].nbytes

    def put(self, position: int, array: Array) -> None:
        """Put in an array.

        Raises:
            InvalidArgument: all arrays would have more than LARGEST_SLICE_BYTES.
            UnexpectedAnswer: the array has another shape or type than the ones before.
        """
        if self.arrays is None:
            if self._count * array.nbytes > LARGEST_SLICE_BYTES:
                most = LARGEST_SLICE_BYTES // array.nbytes
                reported = f"{self._count:,} arrays of {array.nbytes:,} bytes are too many"
                raise InvalidArgument(self._asked, reported, f"Read at most {most:,} at a time")
            self.arrays = np.zeros((self._count, *array.shape), array.dtype)
        if (array.shape, array.dtype) != (self.arrays.shape[1:], self.arrays.dtype):
            reported = f"an array of {array.dtype} {array.shape} is not like the ones before"
            raise UnexpectedAnswer(self._asked, reported)
        self.arrays[position] = array
        self.missing[position] = False

    def masked(self) -> Masked | None:
        """Return all arrays, those that are missing masked; None if there is none."""
        if self.arrays is None:
            return None
        masked: Masked = np.ma.MaskedArray(self.arrays)
        if self.missing.any():
            masked[self.missing] = np.ma.masked
        return masked


class Recordings:
    """The arrays that one device recorded in the shots of a span of time, one for each shot, oldest first.

    A position returns one array. A slice returns a masked array (n, …): an element is masked where the
    device has no readable record of the shot, so `mean(axis=0)` leaves it out. Only the shots up to the end
    of the slice are listed, and only their arrays are read. Records that validation refused, such as
    saturated frames, are there.
    """

    def __init__(self, rest: Rest, device: str, kind: Recorded, shots: ShotList) -> None:
        self._rest = rest
        self._device = device
        self._kind = kind
        self._shots = shots

    def __repr__(self) -> str:
        return f"<{self._kind} of {self._device}, one for each shot; [a:b] reads them>"

    def __len__(self) -> int:
        return len(self._shots.all())

    @overload
    def __getitem__(self, which: int) -> Array: ...

    @overload
    def __getitem__(self, which: slice) -> Masked: ...

    def __getitem__(self, which: int | slice) -> Array | Masked:
        """Return the array of one shot, or those of a slice.

        A slice warns with MissingRecords if some of its arrays are masked.

        Raises:
            IndexError: there is no shot at this position.
            NoData: the shot, or all shots of the slice, have no readable record.
            InvalidArgument: the slice would have more than LARGEST_SLICE_BYTES.
            ShotwatchError: the server does not answer, or refuses.
        """
        if isinstance(which, slice):
            return self._slice(self._listed(which), which.step in (None, 1))
        listed = self._shots.first(which + 1) if which >= 0 else self._shots.all()
        return self._array(listed[which], LARGEST_ARRAY_BYTES).copy()

    def shots(self, which: slice = slice(None)) -> pd.DataFrame:
        """Return the shots of a slice: columns `shot` (the id) and `time`, one row for each array."""
        listed = self._listed(which)
        times = pd.Series([each.time for each in listed], dtype=TIME)
        return pd.DataFrame({"shot": pd.Series([each.id for each in listed], dtype="str"), "time": times})

    def _listed(self, which: slice) -> Sequence[ListedShot]:
        """Return the shots of a slice; list no more of them than it takes."""
        start, stop, step = which.start or 0, which.stop, which.step or 1
        if stop is None or stop < 0 or start < 0 or step < 0:
            return self._shots.all()[which]
        return self._shots.first(stop)[which]

    def _slice(self, shots: Sequence[ListedShot], neighbours: bool) -> Masked:
        gathered = Gathered(f"{len(shots):,} arrays `{self._kind}` of {self._device}", len(shots))
        if self._kind is Recorded.IMAGE and neighbours:
            self._read_in_bulk(shots, gathered)
        reasons = self._read_one_by_one(shots, gathered)
        found = gathered.masked()
        if found is None:
            raise reasons[0] if reasons else NoData(repr(self), "the slice has no shot", "Widen the span")
        if reasons:
            warnings.warn(
                f"{len(reasons)} of {len(shots)} shots have no readable record and are masked; the first: "
                f"{reasons[0]}",
                MissingRecords,
                stacklevel=3,
            )
        return found

    def _read_in_bulk(self, shots: Sequence[ListedShot], gathered: Gathered) -> None:
        """Put in the valid frames of neighbouring shots; one request brings many."""
        positions = {shot.id: position for position, shot in enumerate(shots)}
        done, count = 0, 1
        while done < len(shots):
            asked = shots[done : done + count]
            for shot, frame in self._valid_frames(asked, gathered.bytes_of_one):
                if shot in positions:  # others were added after the shots were listed
                    gathered.put(positions[shot], frame)
            done += len(asked)
            size = gathered.bytes_of_one
            count = FIRST_IN_BULK if size is None else min(BULK_BYTES // max(size, 1) + 1, MOST_IN_BULK)

    def _valid_frames(self, shots: Sequence[ListedShot], size: int | None) -> list[tuple[str, Array]]:
        """Return ids and frames of the newest shots up to the last of these, as many as these are.

        Args:
            shots: neighbouring shots, oldest first.
            size: of a frame, in bytes; None if it is not known.
        """
        path, query = f"/devices/{quote(self._device, safe='')}/frames", {"shots": len(shots)}
        most = LARGEST_ARRAY_BYTES if size is None else len(shots) * (size + _BYTES_PER_SHOT) + _HEADER_BYTES
        query["to"] = epoch_ms(shots[-1].time, "time") + 1
        try:
            data = self._rest.get_bytes(path, most, **query)
        except NoData:
            return []
        try:
            ids, frames = read_npz(data, ("shots", "frames"), most)
            return list(zip(map(str, ids.tolist()), frames, strict=True))
        except (ValueError, TypeError) as error:
            asked = describe("GET", path, query)
            raise UnexpectedAnswer(asked, f"the frames are not readable: {error}") from error

    def _read_one_by_one(self, shots: Sequence[ListedShot], gathered: Gathered) -> list[NoData]:
        """Put in the arrays that are missing, each by a request of its own; return why some are not there."""

        def read(position: int) -> Array | NoData:
            most = gathered.bytes_of_one or LARGEST_ARRAY_BYTES
            try:
                return self._array(shots[position], most + _HEADER_BYTES)
            except NoData as error:
                return error

        missing, reasons = np.flatnonzero(gathered.missing).tolist(), []
        while missing:
            count = AT_ONCE if gathered.arrays is None else AT_A_TIME
            positions, missing = missing[:count], missing[count:]
            for position, array in zip(positions, self._rest.map(read, positions), strict=True):
                if isinstance(array, NoData):
                    reasons.append(array)
                else:
                    gathered.put(position, array)
        return reasons

    def _array(self, shot: ListedShot, most_bytes: int) -> Array:
        path = f"/shots/{quote(shot.id, safe='')}/devices/{quote(self._device, safe='')}/{self._kind}"
        data = self._rest.get_bytes(path, most_bytes, format="npy")
        try:
            return read_npy(data)
        except ValueError as error:
            raise UnexpectedAnswer(
                describe("GET", path, {}), f"the array is not readable: {error}"
            ) from error
