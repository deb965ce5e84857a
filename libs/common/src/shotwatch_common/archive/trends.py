"""Which slow changes have been published."""

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, number, text


class Trends:
    """Collection `trends`: `_id` is device and feature.

    `reported_until` is the start of the last published change (epoch ms).
    """

    def __init__(self, database: Database) -> None:
        self._trends = database["trends"]

    async def reported_until(self) -> dict[tuple[str, str], int]:
        """Return (device, feature) → epoch ms.

        Data before that time has been evaluated and is not compared again.
        """
        return dict(await all_readable(self._trends.find({}), _reported, "trends"))

    async def reported(self, device: str, feature: str, time_ms: int) -> None:
        """Record that a change at this time (epoch ms) was published; earlier data no longer counts."""
        await self._trends.update_one(
            {"_id": f"{device}/{feature}"},
            {"$set": {"device": device, "feature": feature, "reported_until": time_ms}},
            upsert=True,
        )


def _reported(document: Document) -> tuple[tuple[str, str], int]:
    change = text(document["device"]), text(document["feature"])
    return change, number(document["reported_until"])
