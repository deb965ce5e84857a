"""Periodic comparison of the model's promotions with the audit."""

from shotwatch_common import metrics
from shotwatch_common.clock import epoch_now
from shotwatch_common.printable import printable
from shotwatch_common.process import ServiceContext
from shotwatch_common.promotion_audit import differences
from shotwatch_history.settings import HistorySettings


class PromotionWatch:
    """The comparison of promotions and audit: count the differences, and log each difference once."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._archive = context.archive
        self._log = context.log
        self._logged: set[str] = set()

    async def poll(self) -> None:
        """Compare promotions and audit now.

        Raises:
            Retry: the database does not answer.
        """
        found = await differences(self._archive, epoch_now())
        for each in found:
            if each not in self._logged:
                self._log.error("promotion and audit differ", difference=printable(each))
        self._logged = set(found)
        metrics.PROMOTION_DIFFERENCES.set(len(found))
