"""The incidents of each place, changed by compare-and-set."""

from collections.abc import Mapping
from typing import Any

from shotwatch_common.archive.versioned import save_version


class Conditions:
    """Collection `conditions`: `_id` is place and interval; `version` counts changes.

    A change is written only if the document has not changed since it was read. The events that result from a
    change are written with it, to `outbox`, by batch. They are removed from there once they are published.
    """

    def __init__(self, database: Any) -> None:
        self._conditions = database["conditions"]

    async def load(self, place: str) -> Mapping[str, Any] | None:
        document: Mapping[str, Any] | None = await self._conditions.find_one({"_id": place})
        return document

    async def save(self, document: Mapping[str, Any]) -> bool:
        """Write version n over version n - 1, or the first version.

        Return False if another process has changed the document since it was read.
        """
        return await save_version(self._conditions, document)

    async def strike_off(self, place: str, batch_id: str) -> None:
        """Remove the published events of a batch from the outbox. This counts as a change."""
        await self._conditions.update_one(
            {"_id": place}, {"$unset": {f"outbox.{batch_id}": ""}, "$inc": {"version": 1}}
        )
