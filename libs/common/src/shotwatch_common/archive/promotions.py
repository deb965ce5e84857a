"""Which version of the model was promoted to which alias, with the digest of its bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from shotwatch_common.vocabulary import ModelAlias


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of an alias: which bundle inference loads for it from then on."""

    at: int
    """Epoch ms; of an alias, each is later than the one before."""
    who: str
    before: str | None
    """The version that had the alias until then; None for the first one."""
    version: str | None
    """The version that has it from then on; None when the alias was withdrawn."""
    why: str
    rollback: bool = False
    """Whether an earlier champion came back."""
    alias: ModelAlias = ModelAlias.CHAMPION
    run_id: str = ""
    """The run that made the version; empty if no run made it."""
    digest: str = ""
    """`digest_of` its bundle; empty when withdrawn, or promoted before digests were pinned."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        return cls(**{**known, "alias": ModelAlias(known.get("alias", ModelAlias.CHAMPION))})


class Promotions:
    """Collection `promotions`: a document for each change. None is ever changed.

    Only those who promote may write here: an account of the model registry cannot change what is loaded.
    """

    def __init__(self, database: Any) -> None:
        self._promotions = database["promotions"]

    async def add(self, promotion: Promotion) -> None:
        await self._promotions.insert_one(asdict(promotion))

    async def newest(self) -> list[Promotion]:
        """Return all there were, newest first."""
        found = self._promotions.find({}, {"_id": 0}).sort([("at", -1), ("_id", -1)])
        return [Promotion.of(document) async for document in found]

    async def current(self, alias: ModelAlias) -> Promotion | None:
        """Return the newest promotion to an alias, of those that have a digest or withdrew it."""
        newest = [("at", -1), ("_id", -1)]
        found = await self._promotions.find_one({"alias": alias}, {"_id": 0}, sort=newest)
        return None if found is None else Promotion.of(found)
