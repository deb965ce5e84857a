"""Calibration constants of cameras: noise models and references, with every version of each."""

from dataclasses import asdict

from pydantic import TypeAdapter
from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Document, Filter
from shotwatch_common.archive.readable import all_readable
from shotwatch_shots.calibration import CalibrationConstants


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
        documents = self._calibration_constants.find(query)
        found = await all_readable(documents, _decoded, "calibration_constants")
        return sorted(found, key=lambda each: (each.device, each.kind, each.version))


_constants = TypeAdapter(CalibrationConstants)


def _decoded(document: Document) -> CalibrationConstants:
    constants = _constants.validate_python({name: document[name] for name in document if name != "_id"})
    if document["_id"] != _id(constants):
        raise ValueError(f"its id should be {_id(constants)}")
    return constants


def _id(constants: CalibrationConstants) -> str:
    return f"{constants.device}/{constants.kind}/{constants.version}"
