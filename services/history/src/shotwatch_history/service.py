"""history: keep references, report slow changes and drift, check ledger, write day tables, delete old data.

Consumes nothing; checks the archive periodically. Publishes `AnomalyEvent` of kinds `trend` and `drift`.

Delivery: an event is stored, numbered and published before the change is recorded as reported. The id of the
event depends on what was reported before. If the service dies in between, it therefore publishes the same
event again, and two replicas publish one event. The id of a drift event names the device and the model
version: drift is reported once. So is each step of a threshold, by an event whose id names series, version,
question and step. A reference is added to the calibration store after its arrays are stored; if
the service dies before that, the arrays remain without any reference to them. A check of the ledger writes
only its own result, under the id of the hour or day that was checked. The deletion of old shots marks the
files as expired, then deletes the window, and the batch last. If the service dies in between, it finds the
batch again. Two replicas delete the same. One replica writes day tables, the one with the lease: the file of
an hour first, then the manifest that names it, then that the hour is written.
"""

from contextlib import AsyncExitStack
from functools import partial

from shotwatch_common.background import every
from shotwatch_common.process import Service, ServiceContext
from shotwatch_common.registry import ModelRegistry
from shotwatch_history.jobs.drift import DriftWatch
from shotwatch_history.jobs.ledger import LedgerWatch
from shotwatch_history.jobs.promotions import PromotionWatch
from shotwatch_history.jobs.references import ReferenceRenewal
from shotwatch_history.jobs.retention import BlockRetention, ShotRetention
from shotwatch_history.jobs.tables import TableCompaction, TableLease, TableRetention
from shotwatch_history.jobs.thresholds import ThresholdWatch
from shotwatch_history.jobs.trends import TrendWatch
from shotwatch_history.settings import HistorySettings

LEDGER_POLL_S = 60.0
"""Pause between two checks of the ledger, in seconds."""
RETENTION_POLL_S = 60.0
"""Pause between two deletions of old shots, in seconds."""
BLOCK_POLL_S = 3600.0
"""Pause between two deletions of old blocks, in seconds."""
TABLE_POLL_S = 10.0
"""Pause between two checks for hours whose tables are to be written, in seconds."""
TABLE_RETENTION_POLL_S = 3600.0
"""Pause between two deletions of old tables, in seconds."""


async def assemble(context: ServiceContext[HistorySettings], resources: AsyncExitStack) -> Service:
    """Return the jobs of the service, each with the pause between two runs."""
    settings = context.settings
    tables = TableLease(context)
    registry = await resources.enter_async_context(ModelRegistry.of(settings))
    jobs = (
        (settings.trend_poll_seconds, TrendWatch(context).poll),
        (settings.reference_poll_seconds, ReferenceRenewal(context).renew),
        (settings.drift_poll_seconds, DriftWatch(context, registry).poll),
        (settings.drift_poll_seconds, PromotionWatch(context).poll),
        (settings.drift_poll_seconds, ThresholdWatch(context).poll),
        (LEDGER_POLL_S, LedgerWatch(context).poll),
        (TABLE_POLL_S, TableCompaction(context, tables).poll),
        *([(RETENTION_POLL_S, ShotRetention(context).poll)] if settings.shot_days else []),
        *([(TABLE_RETENTION_POLL_S, TableRetention(context, tables).poll)] if settings.table_days else []),
        *([(BLOCK_POLL_S, BlockRetention(context).poll)] if settings.delete_blocks_days else []),
    )
    return Service(background=tuple(partial(every, pause, job, context.log) for pause, job in jobs))
