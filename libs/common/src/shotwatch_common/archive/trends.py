"""Which slow changes have been told."""

from typing import Any


class Trends:
    """Collection `trends`: `_id` = device and feature; `told_until` is when the change told last began."""

    def __init__(self, database: Any) -> None:
        self._trends = database["trends"]

    async def told_until(self) -> dict[tuple[str, str], int]:
        """(Device, feature) → epoch ms: what lies before has been told of, or compared in vain."""
        return {(d["device"], d["feature"]): int(d["told_until"]) async for d in self._trends.find({})}

    async def told(self, device: str, feature: str, time_ms: int) -> None:
        """A change at this time has been told; what was before it no longer counts."""
        await self._trends.update_one(
            {"_id": f"{device}/{feature}"},
            {"$set": {"device": device, "feature": feature, "told_until": time_ms}},
            upsert=True,
        )
