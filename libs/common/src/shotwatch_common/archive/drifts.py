"""How far each device has drifted from the data that the champion was trained on."""

from dataclasses import asdict

from pydantic import TypeAdapter

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.readable import all_readable
from shotwatch_shots.drift import Drift

_drift = TypeAdapter(Drift)


class Drifts:
    """Collection `drifts`: `_id` is the device. A new drift replaces the previous one."""

    def __init__(self, database: Database) -> None:
        self._drifts = database["drifts"]

    async def keep(self, drift: Drift) -> None:
        document = {"_id": drift.device, **asdict(drift)}
        await self._drifts.replace_one({"_id": drift.device}, document, upsert=True)

    async def of_version(self, version: str) -> list[Drift]:
        """Return the drift of each device that was compared with this version, sorted by device name."""
        found = self._drifts.find({"version": version}, {"_id": 0})
        drifts = await all_readable(found, _drift.validate_python, "drifts")
        return sorted(drifts, key=lambda drift: drift.device)
