"""Which version of the model was promoted to which alias, with the digest of its bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from shotwatch_shots.pulses import YEAR_10000_MS
from shotwatch_shots.vocabulary import ModelAlias

MOST = 1000
"""Promotions of an alias that are read: three years of a challenger each night."""


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
    audit_line: str = ""
    """Id of the line of the audit that was written before it; empty if none was."""

    @property
    def operation(self) -> str:
        """The name of the change in the audit."""
        if self.version is None:
            return f"withdraw_{self.alias}"
        if self.alias is ModelAlias.CHALLENGER:
            return "introduce_challenger"
        return "roll_back" if self.rollback else "promote"

    @property
    def subject(self) -> str:
        """What its line of the audit is about: `version 3, bundle 5f0c…, by amelie`."""
        bundle = f", bundle {self.digest}" if self.digest else ""
        return f"version {self.version or self.before or 'none'}{bundle}, by {self.who}"

    @classmethod
    def of(cls, alias: ModelAlias, document: Mapping[str, Any]) -> Self:
        """Return the promotion that a document stands for.

        Older documents lack some fields. Whoever may write to the collection can leave out any, or write
        values of any type: these become texts, which match no version and no digest.
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
    """Collections `promotions` (of champions) and `challengers`: a document for each change, never changed.

    `training` may write challengers and no champions, so that it cannot decide what judges. An account of the
    model registry may write neither.
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

        A document without a time between 1970 and 9999 is no promotion.
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
        """Return how many promotions to an alias name a line of the audit; 2 for more."""
        found = self._collections[alias].find({"audit_line": audit_line}, {"_id": 1}).limit(2)
        return len([document async for document in found])

    async def current(self, alias: ModelAlias) -> Promotion | None:
        """Return the newest promotion to an alias; None if there is none."""
        return next(iter(await self.newest(alias, 1)), None)


def _text(value: object) -> str:
    return "" if value is None else str(value)
