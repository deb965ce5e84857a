"""The progress of reprocessing, so that it can be stopped and resumed."""

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.readable import number, readable_one
from shotwatch_common.clock import epoch_now


class Reprocessings:
    """Collection `reprocessings`: one document per stage and time range that is not finished."""

    def __init__(self, database: Database) -> None:
        self._reprocessings = database["reprocessings"]

    async def reached(self, stage: str, start: int, end: int) -> int:
        """Return the time (epoch ms) before which everything is done; `start` if nothing is done yet."""
        document = await self._reprocessings.find_one({"_id": _id(stage, start, end)})
        reached = readable_one(document, lambda found: number(found["reached"]), "reprocessings")
        return start if reached is None else reached

    async def note_reached(self, stage: str, start: int, end: int, time_ms: int) -> None:
        """Record that everything before this time (epoch ms) is done."""
        changes = {"reached": time_ms, "at": epoch_now()}
        await self._reprocessings.update_one({"_id": _id(stage, start, end)}, {"$set": changes}, upsert=True)

    async def finish(self, stage: str, start: int, end: int) -> None:
        """Record that the whole range is done.

        A later request for the same range starts from the beginning.
        """
        await self._reprocessings.delete_one({"_id": _id(stage, start, end)})


def _id(stage: str, start: int, end: int) -> str:
    return f"{stage}:{start}:{end}"
