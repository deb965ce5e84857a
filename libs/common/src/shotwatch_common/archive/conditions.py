"""The conditions of each place, changed by compare-and-set."""

from collections.abc import Mapping
from typing import Any

from shotwatch_common.archive.versioned import save_version


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
        return await save_version(self._conditions, document)

    async def strike_off(self, place: str, batch_id: str) -> None:
        """The events of the batch are told. This counts as a change."""
        await self._conditions.update_one(
            {"_id": place}, {"$unset": {f"outbox.{batch_id}": ""}, "$inc": {"version": 1}}
        )
