"""How far each device is from what the champion was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """A feature or score of late, against the training period."""

    centre: float
    """Its median in training, in the feature's unit."""
    median: float
    """Its median of late."""
    shift: float
    """median - centre in robust standard deviations of the training period."""
    beyond: float | None
    """Share of the newest shots that are more than three of them away; None without any."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One device, as of its newest data."""

    device: str
    version: str
    """The champion."""
    start: int
    """Epoch ms of the first data that was looked at."""
    end: int
    """Epoch ms: the first shot of the newest batch."""
    features: Mapping[str, FeatureDrift]


class Drifts:
    """Collection `drifts`: `_id` = device; the newest replaces what was there."""

    def __init__(self, database: Any) -> None:
        self._drifts = database["drifts"]

    async def keep(self, drift: Drift) -> None:
        document = {"_id": drift.device, **asdict(drift)}
        await self._drifts.replace_one({"_id": drift.device}, document, upsert=True)

    async def of_version(self, version: str) -> list[Drift]:
        """Of each device that was compared with this version, by name."""
        found = self._drifts.find({"version": version}, {"_id": 0})
        drifts = [_drift(document) async for document in found]
        return sorted(drifts, key=lambda drift: drift.device)


def _drift(document: Mapping[str, Any]) -> Drift:
    features = {name: FeatureDrift(**of) for name, of in document["features"].items()}
    return Drift(**{**document, "features": features})
