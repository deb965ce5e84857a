"""How far each device has drifted from the data that the champion was trained on."""

from dataclasses import asdict

from shotwatch_common.archive.driver import Database, Document
from shotwatch_shots.drift import Drift, FeatureDrift


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
        drifts = [_drift(document) async for document in found]
        return sorted(drifts, key=lambda drift: drift.device)


def _drift(document: Document) -> Drift:
    features = {name: FeatureDrift(**of) for name, of in document["features"].items()}
    return Drift(**{**document, "features": features})
