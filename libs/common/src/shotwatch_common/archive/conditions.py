"""The conditions of each place, changed by compare-and-set."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError


class Conditions:
    """Collection `conditions`: `_id` = place and interval, `version` counts changes.

    A change is written only when nobody else changed the document since it was read. The events that a change
    calls for are written with it (`outbox`, by batch) and struck off once they are told.
    """

    def __init__(self, database: Any) -> None:
        self._conditions = database["conditions"]

    async def load(self, place: str) -> Mapping[str, Any] | None:
        document: Mapping[str, Any] | None = await self._conditions.find_one({"_id": place})
        return document

    async def save(self, document: Mapping[str, Any]) -> bool:
        """Write version n over version n - 1 (or the first one); False when somebody else was faster."""
        if document["version"] == 1:
            try:
                await self._conditions.insert_one(document)
            except DuplicateKeyError:
                return False
            return True
        before = {"_id": document["_id"], "version": document["version"] - 1}
        changes = {name: value for name, value in document.items() if name != "_id"}
        result = await self._conditions.update_one(before, {"$set": changes})
        return bool(result.modified_count)

    async def strike_off(self, place: str, batch_id: str) -> None:
        """The events of the batch are told. This counts as a change."""
        await self._conditions.update_one(
            {"_id": place}, {"$unset": {f"outbox.{batch_id}": ""}, "$inc": {"version": 1}}
        )
