"""What was last known of each device: its state, and its last frame."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pymongo.errors import DuplicateKeyError


@dataclass(frozen=True, slots=True)
class LastState:
    """The state of a device at its newest record."""

    time: int
    """Epoch ms."""
    state: str


@dataclass(frozen=True, slots=True)
class LastFrame:
    """The newest frame of a camera."""

    time: int
    """Epoch ms."""
    fingerprint: int


class Devices:
    """Collection `devices`: `_id` = group name. A record older than what is known changes nothing."""

    def __init__(self, database: Any) -> None:
        self._devices = database["devices"]

    async def saw(self, device: str, seen: LastState) -> None:
        await _keep_newest(self._devices, device, asdict(seen))

    async def last_states(self, devices: Sequence[str]) -> dict[str, LastState]:
        """What is known of each of these devices; devices never seen are left out."""
        found = self._devices.find({"_id": {"$in": list(devices)}})
        return {d["_id"]: LastState(d["time"], d["state"]) async for d in found}

    async def newest(self, devices: Sequence[str] | None = None) -> int | None:
        """Time (epoch ms) of the newest record of these devices, or of any; None before the first."""
        which = {} if devices is None else {"_id": {"$in": list(devices)}}
        times = [document["time"] async for document in self._devices.find(which, {"time": 1})]
        return max(times, default=None)


class Frames:
    """Collection `frames`: `_id` = group name of a camera."""

    def __init__(self, database: Any) -> None:
        self._frames = database["frames"]

    async def saw(self, device: str, frame: LastFrame) -> None:
        await _keep_newest(self._frames, device, asdict(frame))

    async def before(self, device: str, time_ms: int) -> int | None:
        """The fingerprint of the camera's newest known frame, if it is older than `time_ms`."""
        found = await self._frames.find_one({"_id": device})
        return int(found["fingerprint"]) if found and found["time"] < time_ms else None


async def _keep_newest(collection: Any, device: str, seen: dict[str, Any]) -> None:
    result = await collection.update_one({"_id": device, "time": {"$lt": seen["time"]}}, {"$set": seen})
    if not result.matched_count:
        try:
            await collection.insert_one({"_id": device, **seen})
        except DuplicateKeyError:
            return
