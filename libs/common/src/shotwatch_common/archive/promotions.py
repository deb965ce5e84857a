"""Which version of the model was promoted to which alias, with the digest of its bundle."""

from dataclasses import asdict

from shotwatch_common.archive.audit import MOST_CHARACTERS
from shotwatch_common.archive.driver import Database, Document
from shotwatch_shots.models import Promotion
from shotwatch_shots.pulses import YEAR_10000_MS
from shotwatch_shots.vocabulary import ModelAlias

MOST = 1000
"""How many promotions of an alias are read at most: enough for three years with one challenger per night."""


class Promotions:
    """Collections `promotions` (champions) and `challengers`: one document per change, never changed.

    `training` may write challengers but not champions, so it cannot decide which model judges. An account of
    the model registry may write neither.
    """

    def __init__(self, database: Database) -> None:
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
        # A range also matches an array with a number in it; a document that cannot be decoded has no time.
        return [_decoded(alias, each) async for each in found if isinstance(each.get("at"), (int, float))]

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


def _decoded(alias: ModelAlias, document: Document) -> Promotion:
    """Return the promotion that a document holds.

    Older documents lack some fields. An account that may write to the collection can omit any field, or write
    values of any type and length. Such values become short texts that match no version and no digest.
    """
    return Promotion(
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


def _text(value: object) -> str:
    return "" if value is None else str(value)[:MOST_CHARACTERS]
