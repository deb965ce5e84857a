"""How far reprocessing has come, so that it can be stopped and gone on with."""

from typing import Any

from shotwatch_common.clock import epoch_now


class Reprocessings:
    """Collection `reprocessings`: one document per stage and span that was begun and is not done."""

    def __init__(self, database: Any) -> None:
        self._reprocessings = database["reprocessings"]

    async def reached(self, stage: str, start: int, end: int) -> int:
        """Epoch ms before which all is done; `start` when nothing is."""
        document = await self._reprocessings.find_one({"_id": _id(stage, start, end)})
        return start if document is None else int(document["reached"])

    async def reach(self, stage: str, start: int, end: int, time_ms: int) -> None:
        """All before this time is done."""
        changes = {"reached": time_ms, "at": epoch_now()}
        await self._reprocessings.update_one({"_id": _id(stage, start, end)}, {"$set": changes}, upsert=True)

    async def finish(self, stage: str, start: int, end: int) -> None:
        """All of it is done: asked for again, it begins anew."""
        await self._reprocessings.delete_one({"_id": _id(stage, start, end)})


def _id(stage: str, start: int, end: int) -> str:
    return f"{stage}:{start}:{end}"
