"""What was last known of each device: its state and its last frame."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pymongo.errors import DuplicateKeyError


@dataclass(frozen=True, slots=True)
class LastSeen:
    """The newest record of a device."""

    time: int
    """Epoch ms."""
    state: str
    fingerprint: int = 0
    """Of its frame; 0 for devices without frames."""


class Devices:
    """Collection `devices`: `_id` = group name. A record older than what is known changes nothing."""

    def __init__(self, database: Any) -> None:
        self._devices = database["devices"]

    async def saw(self, device: str, seen: LastSeen) -> None:
        changes = {"$set": asdict(seen)}
        result = await self._devices.update_one({"_id": device, "time": {"$lt": seen.time}}, changes)
        if not result.matched_count:
            try:
                await self._devices.insert_one({"_id": device, **asdict(seen)})
            except DuplicateKeyError:
                return

    async def last_seen(self, devices: Sequence[str]) -> dict[str, LastSeen]:
        """What is known of each of these devices; devices never seen are left out."""
        found = self._devices.find({"_id": {"$in": list(devices)}})
        return {
            document["_id"]: LastSeen(document["time"], document["state"], document["fingerprint"])
            async for document in found
        }

    async def newest(self) -> int | None:
        """Time (epoch ms) of the newest record of any device; None before the first."""
        times = [document["time"] async for document in self._devices.find({}, {"time": 1})]
        return max(times, default=None)
