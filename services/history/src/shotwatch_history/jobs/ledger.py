"""Periodic reconciliation: check what changed, and log what does not add up.

A check writes only its own result, so any number of replicas may run.
"""

from collections.abc import Mapping
from functools import partial
from time import monotonic

from shotwatch_common import metrics
from shotwatch_common.background import Items
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import ServiceContext
from shotwatch_history.settings import HistorySettings
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_operations.reconciliation.reconciler import Reconciler
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.reconciliation.slices import Slice

BUDGET_S = 30.0
"""Time limit in seconds after which a run begins no further check; a check that has begun is finished."""


class LedgerWatch:
    """The periodic check of the slices that are due."""

    def __init__(
        self, context: ServiceContext[HistorySettings], allowances: Allowances | None = None
    ) -> None:
        self._log = context.log
        self._archive = context.archive
        collector = Collector(
            context.archive,
            context.store,
            context.facility,
            context.settings,
            context.bus,
            allowances or Allowances(),
        )
        self._reconciler = Reconciler(context.archive, collector)
        self._slices = Items(context.servers_answer, context.log)

    async def poll(self) -> None:
        """Check what is due; log imbalances that the previous check also found.

        Raises:
            Retry: a server does not answer.
        """
        await self._reconciler.note_changes()
        await self._reconciler.recheck()
        due = {str(slice_): slice_ for slice_ in await self._reconciler.due()}
        await self._slices.each(due, partial(self._check, due, monotonic() + BUDGET_S))
        await self._measure()

    async def _check(self, due: Mapping[str, Slice], deadline: float, name: str) -> None:
        if monotonic() > deadline:
            return
        result = await self._reconciler.check(due[name])
        for each in result.confirmed:
            self._log.error("imbalance", slice=name, subject=each.subject, wrong=each.wrong)

    async def _measure(self) -> None:
        now = epoch_now()
        for state, count in (await self._archive.ledger.tally(now - HOUR_MS, now)).states.items():
            metrics.LEDGER_OBJECTS.labels(state).set(count)
        imbalanced = await self._archive.reconciliations.imbalanced()
        metrics.LEDGER_UNACCOUNTED.set(sum(len(result.confirmed) for result in imbalanced))
        metrics.LEDGER_CHECKED.set_to_current_time()
