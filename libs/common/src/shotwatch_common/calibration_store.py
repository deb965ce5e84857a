"""The calibration store: arrays of calibration constants in the object store, versions in the database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import ObjectGone, ObjectStore
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.identity import calibration_key
from shotwatch_shots.vocabulary import CalibrationKind

MOST_CONSTANTS_BYTES = 128 << 20
"""Maximum size of the arrays of one camera; two of 4000 x 4000 pixels in single precision take this much."""
Readers = Mapping[CalibrationKind, Callable[[bytes], Any]]


@dataclass(frozen=True, slots=True)
class Period:
    """The frames from which calibration constants were made: first and last time (epoch ms), and number."""

    start: int
    end: int
    frames: int


@dataclass(slots=True)
class CalibrationStore:
    """The newest calibration constants, each read once; `readers` convert the stored bytes."""

    archive: Archive
    store: ObjectStore
    readers: Readers
    _read: dict[tuple[str, CalibrationKind], tuple[CalibrationConstants, Any]] = field(default_factory=dict)

    async def poll(self) -> list[tuple[CalibrationConstants, str]]:
        """Read the new calibration constants.

        Return those that cannot be read, or whose object was replaced, each with the reason. Each is reported
        once, and not read again.
        """
        unreadable = []
        for latest in await self.archive.calibration_constants.latest():
            known = self._read.get((latest.device, latest.kind))
            if latest.kind in self.readers and (known is None or known[0].version < latest.version):
                try:
                    read = self.readers[latest.kind](await self._content(latest))
                except (ValueError, ObjectGone) as error:
                    read = None if known is None else known[1]
                    unreadable.append((latest, str(error)))
                self._read[latest.device, latest.kind] = latest, read
        return unreadable

    async def _content(self, constants: CalibrationConstants) -> bytes:
        """Return the stored bytes, of which the key has a digest.

        Raises:
            ValueError: they are others, or too many.
            ObjectGone: there are none.
        """
        data = await self.store.get(constants.bucket, constants.key, MOST_CONSTANTS_BYTES)
        if calibration_key(constants.device, constants.kind, data) != constants.key:
            raise ValueError(f"{constants.key} is not what was stored there")
        return data

    def newest(self, device: str, kind: CalibrationKind) -> Any:
        """Return the newest version that `poll` has read, converted by its reader; None if there is none."""
        known = self._read.get((device, kind))
        return None if known is None else known[1]


async def store_constants(
    archive: Archive,
    store: ObjectStore,
    bucket: str,
    device: str,
    kind: CalibrationKind,
    data: bytes,
    of: Period,
) -> CalibrationConstants:
    """Store calibration constants as the next version of their device and kind."""
    key = calibration_key(device, kind, data)
    await store.put(bucket, key, data)
    while True:
        versions = [
            each.version
            for each in await archive.calibration_constants.of_device(device)
            if each.kind is kind
        ]
        next_version = max(versions, default=0) + 1
        made = CalibrationConstants(
            device, kind, next_version, epoch_now(), of.start, of.end, of.frames, bucket, key
        )
        # If another process has taken the version number, try again with the next one.
        if await archive.calibration_constants.add(made):
            return made
