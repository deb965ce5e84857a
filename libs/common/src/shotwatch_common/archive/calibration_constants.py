"""Calibration constants of cameras: noise models and references, with every version of each."""

from dataclasses import asdict

from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Filter
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.vocabulary import CalibrationKind


class CalibrationVersions:
    """Collection `calibration_constants`: `_id` is device, kind and version. A version never changes."""

    def __init__(self, database: Database) -> None:
        self._calibration_constants = database["calibration_constants"]

    async def ensure_indexes(self) -> None:
        await self._calibration_constants.create_index([("device", 1)])

    async def add(self, constants: CalibrationConstants) -> bool:
        """Store a version. Return False if another process has already stored a version with that number."""
        document = {
            "_id": _id(constants),
            **asdict(constants),
            "kind": constants.kind.value,
        }
        try:
            await self._calibration_constants.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def of_device(self, device: str) -> list[CalibrationConstants]:
        """Return all versions of a device, sorted by kind and version."""
        return await self._found({"device": device})

    async def latest(self) -> list[CalibrationConstants]:
        """Return the newest version of each kind for each device."""
        newest = {(each.device, each.kind): each for each in await self._found({})}
        return list(newest.values())

    async def _found(self, query: Filter) -> list[CalibrationConstants]:
        documents = [d async for d in self._calibration_constants.find(query, {"_id": 0})]
        found = [CalibrationConstants(**{**d, "kind": CalibrationKind(d["kind"])}) for d in documents]
        return sorted(found, key=lambda each: (each.device, each.kind, each.version))


def _id(constants: CalibrationConstants) -> str:
    return f"{constants.device}/{constants.kind}/{constants.version}"
