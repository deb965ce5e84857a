"""The last known state and the last frame of each device."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Collection, Database, Document
from shotwatch_common.archive.readable import all_readable, id_of, number, readable_one, text


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
    """Collection `devices`: `_id` is the group name, or the series for devices that are not listed there.

    A record older than the stored one changes nothing.

    `latest_ms` is the latest plausible time of a record now (epoch ms, `clock.latest_record_ms`). A later
    time comes from a clock that is wrong: it is ignored, and the next record replaces it.
    """

    def __init__(self, database: Database) -> None:
        self._devices = database["devices"]

    async def saw(self, device: str, seen: LastState, latest_ms: int) -> None:
        await _keep_newest(self._devices, device, asdict(seen), latest_ms)

    async def last_states(self, devices: Sequence[str], latest_ms: int | None = None) -> dict[str, LastState]:
        """Return the last known state of each of these devices, not later than `latest_ms` if it is given.

        Devices without any record are left out.
        """
        found = self._devices.find({"_id": {"$in": list(devices)}})
        seen = dict(await all_readable(found, _last_state, "devices"))
        return {name: last for name, last in seen.items() if latest_ms is None or last.time <= latest_ms}

    async def newest(self, latest_ms: int, devices: Sequence[str] | None = None) -> int | None:
        """Return the time (epoch ms) of the newest record of these devices, or of all; None without any."""
        which = {} if devices is None else {"_id": {"$in": list(devices)}}
        found = self._devices.find(which, {"time": 1})
        times = await all_readable(found, lambda document: number(document["time"]), "devices")
        return max((time for time in times if time <= latest_ms), default=None)


class LastFrames:
    """Collection `frames`: `_id` is the group name of a camera; `latest_ms` as in `Devices`."""

    def __init__(self, database: Database) -> None:
        self._frames = database["frames"]

    async def saw(self, device: str, frame: LastFrame, latest_ms: int) -> None:
        await _keep_newest(self._frames, device, asdict(frame), latest_ms)

    async def before(self, device: str, time_ms: int) -> int | None:
        """Return the fingerprint of a camera's newest known frame; None if it is not older than `time_ms`."""
        found = readable_one(await self._frames.find_one({"_id": device}), _last_frame, "frames")
        return found.fingerprint if found and found.time < time_ms else None


def _last_state(document: Document) -> tuple[str, LastState]:
    return id_of(document), LastState(number(document["time"]), text(document["state"]))


def _last_frame(document: Document) -> LastFrame:
    return LastFrame(number(document["time"]), number(document["fingerprint"]))


async def _keep_newest(collection: Collection, device: str, seen: Document, latest_ms: int) -> None:
    if seen["time"] > latest_ms:
        return
    older = {"_id": device, "time": {"$lte": seen["time"]}}
    result = await collection.update_one(older, {"$set": seen})
    if not result.matched_count:
        try:
            await collection.insert_one({"_id": device, **seen})
        except DuplicateKeyError:
            # The document exists, so it is newer than the record: replace it only if its clock was wrong.
            impossible = {"_id": device, "time": {"$gt": latest_ms}}
            await collection.update_one(impossible, {"$set": seen})
