"""Which version of the model was promoted to which alias, with the digest of its bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from shotwatch_shots.pulses import YEAR_10000_MS
from shotwatch_shots.vocabulary import ModelAlias

MOST = 1000
"""How many promotions of an alias are read at most: enough for three years with one challenger per night."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of an alias. It determines which bundle inference loads for the alias from then on."""

    at: int
    """Epoch ms; always later than the previous promotion to the same alias."""
    who: str
    before: str | None
    """The version that had the alias until then; None for the first promotion."""
    version: str | None
    """The version that has the alias from then on; None if the alias was withdrawn."""
    why: str
    rollback: bool = False
    """Whether a previous champion was restored."""
    alias: ModelAlias = ModelAlias.CHAMPION
    run_id: str = ""
    """The run that produced the version; empty if there is none."""
    digest: str = ""
    """`digest_of` its bundle; empty for a withdrawal, or if promoted before digests were pinned."""
    audit_line: str = ""
    """Id of the audit line that was written before the promotion; empty if there is none."""

    @property
    def operation(self) -> str:
        """The name of this change in the audit."""
        if self.version is None:
            return f"withdraw_{self.alias}"
        if self.alias is ModelAlias.CHALLENGER:
            return "introduce_challenger"
        return "roll_back" if self.rollback else "promote"

    @property
    def subject(self) -> str:
        """The subject of this change in the audit, for example `version 3, bundle 5f0c…, by amelie`."""
        bundle = f", bundle {self.digest}" if self.digest else ""
        return f"version {self.version or self.before or 'none'}{bundle}, by {self.who}"

    @classmethod
    def of(cls, alias: ModelAlias, document: Mapping[str, Any]) -> Self:
        """Return the promotion that a document holds.

        Older documents lack some fields. An account that may write to the collection can omit any field, or
        write values of any type. Such values become texts that match no version and no digest.
        """
        return cls(
            at=int(document["at"]),
            who=_text(document.get("who")),
            before=_text(document.get("before")) or None,
            version=_text(document.get("version")) or None,
            why=_text(document.get("why")),
            rollback=bool(document.get("rollback")),
            alias=alias,
            run_id=_text(document.get("run_id")),
            digest=_text(document.get("digest")),
            audit_line=_text(document.get("audit_line")),
        )


class Promotions:
    """Collections `promotions` (champions) and `challengers`: one document per change, never changed.

    `training` may write challengers but not champions, so it cannot decide which model judges. An account of
    the model registry may write neither.
    """

    def __init__(self, database: Any) -> None:
        self._collections = {
            ModelAlias.CHAMPION: database["promotions"],
            ModelAlias.CHALLENGER: database["challengers"],
        }

    async def add(self, promotion: Promotion) -> None:
        await self._collections[promotion.alias].insert_one(asdict(promotion))

    async def newest(self, alias: ModelAlias, most: int = MOST) -> list[Promotion]:
        """Return the newest promotions to an alias, newest first.

        A document whose time is not between 1970 and 9999 does not count as a promotion.
        """
        known = {"alias": {"$in": [alias, None]}, "at": {"$gte": 0, "$lt": YEAR_10000_MS}}
        found = self._collections[alias].find(known, {"_id": 0}).sort([("at", -1), ("_id", -1)]).limit(most)
        # A range also matches an array with a number in it.
        return [Promotion.of(alias, each) async for each in found if isinstance(each["at"], (int, float))]

    async def differ(self, one: Promotion) -> bool:
        """Return whether another promotion of the same version and run to this alias has another bundle."""
        same = {"version": one.version, "run_id": one.run_id, "digest": {"$nin": [one.digest, "", None]}}
        found = self._collections[one.alias].find(same, {"_id": 1}).limit(1)
        return bool([document async for document in found])

    async def sharing(self, alias: ModelAlias, audit_line: str) -> int:
        """Return how many promotions to an alias name this audit line; 2 stands for two or more."""
        found = self._collections[alias].find({"audit_line": audit_line}, {"_id": 1}).limit(2)
        return len([document async for document in found])

    async def current(self, alias: ModelAlias) -> Promotion | None:
        """Return the newest promotion to an alias; None if there is none."""
        return next(iter(await self.newest(alias, 1)), None)


def _text(value: object) -> str:
    return "" if value is None else str(value)
