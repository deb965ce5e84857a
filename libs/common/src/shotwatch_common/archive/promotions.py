"""Which version of the model was champion from when on."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the champion."""

    at: int
    """Epoch ms."""
    who: str
    before: str | None
    """The version that was champion until then; None for the first one."""
    version: str
    """The version that is it from then on."""
    why: str
    rollback: bool = False
    """Whether an earlier champion came back."""


class Promotions:
    """Collection `promotions`: a document for each change. None is ever changed."""

    def __init__(self, database: Any) -> None:
        self._promotions = database["promotions"]

    async def add(self, promotion: Promotion) -> None:
        await self._promotions.insert_one(asdict(promotion))

    async def newest(self) -> list[Promotion]:
        """All there were, newest first."""
        found = self._promotions.find({}, {"_id": 0}).sort([("at", -1), ("_id", -1)])
        return [Promotion(**document) async for document in found]
