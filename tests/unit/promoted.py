"""Promotions and the audit in memory, as an archive has them."""

from dataclasses import replace

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.promotions import Promotions
from shotwatch_common.clock import epoch_now
from shotwatch_shots.models import Promotion
from tests.support.database import DatabaseInMemory


class Promoted:
    """What was promoted, each with its line of the audit."""

    def __init__(self) -> None:
        self.database = DatabaseInMemory()
        self.promotions, self.audit = Promotions(Database(self.database)), Audit(Database(self.database))

    async def promote(self, version: str, run_id: str, digest: str) -> None:
        promotion = Promotion(epoch_now(), "amelie", None, version, "", run_id=run_id, digest=digest)
        line = await self.audit.note(promotion.operation, promotion.subject)
        await self.promotions.add(replace(promotion, audit_line=line))
