"""How far each device has drifted from the data that the champion was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """Recent values of a feature or score, compared with the training period."""

    centre: float
    """Median in the training period, in the feature's unit."""
    median: float
    """Recent median."""
    shift: float
    """median - centre, in robust standard deviations of the training period."""
    beyond: float | None
    """Fraction of the newest shots more than three such deviations from the centre; None without shots."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one device, as of its newest data."""

    device: str
    version: str
    """Version of the champion."""
    start: int
    """Time of the first data used, epoch ms."""
    end: int
    """Time of the first shot of the newest batch, epoch ms."""
    features: Mapping[str, FeatureDrift]


class Drifts:
    """Collection `drifts`: `_id` is the device. A new drift replaces the previous one."""

    def __init__(self, database: Any) -> None:
        self._drifts = database["drifts"]

    async def keep(self, drift: Drift) -> None:
        document = {"_id": drift.device, **asdict(drift)}
        await self._drifts.replace_one({"_id": drift.device}, document, upsert=True)

    async def of_version(self, version: str) -> list[Drift]:
        """Return the drift of each device that was compared with this version, sorted by device name."""
        found = self._drifts.find({"version": version}, {"_id": 0})
        drifts = [_drift(document) async for document in found]
        return sorted(drifts, key=lambda drift: drift.device)


def _drift(document: Mapping[str, Any]) -> Drift:
    features = {name: FeatureDrift(**of) for name, of in document["features"].items()}
    return Drift(**{**document, "features": features})
