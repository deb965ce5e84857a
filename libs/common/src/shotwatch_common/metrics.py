"""Every metric that services serve on GET /metrics: names, units and labels in one place (docs/metrics.md).

Labels have few values: stages, the words of `vocabulary`, versions of the model, the places and devices of
the facility file; never ids or paths. Counters start at 0 with their process. What is delivered twice is
counted twice, unless a metric states otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram, Info, disable_created_metrics

from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.errors import Reject
from shotwatch_shots.event import AnomalyEvent, ModelRef
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import VALID, JudgedRecords, ObjectRef
from shotwatch_shots.vocabulary import Completeness, ModelAlias, ObjectState, Settlement


class CacheOutcome(StrEnum):
    """Outcome of a request to the block cache."""

    HIT = "hit"
    MISS = "miss"
    UNREADABLE = "unreadable"
    KEPT = "kept"
    NOT_KEPT = "not_kept"


disable_created_metrics()  # type: ignore[no-untyped-call]  # additional series that nobody uses

STAGE = ("stage",)
PLACE = ("place",)
DEVICE = (*PLACE, "device")
WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
WORK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LATENCY_BUCKETS = (0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 5, 10, 30, 60, 300, 1800)
BATCH_BUCKETS = (1, 5, 10, 30, 60, 100, 300, 600, 1000, 3000, 6000, 10_000)

BUILD = Info("shotwatch_build", "What runs: service and version.")

MESSAGES = Counter("shotwatch_messages_total", "Messages settled, by outcome.", (*STAGE, "outcome"))
FAILURES = Counter(
    "shotwatch_failures_total",
    "Attempts that failed: class retry, reject or bug; reason is a Reject's, else the error's type. "
    "Files that ingest rejects are not failures of messages: see shotwatch_files_total.",
    (*STAGE, "class", "reason"),
)
MALFORMED_DOCUMENTS = Counter(
    "shotwatch_malformed_documents_total",
    "Documents of the database that were left out because they are malformed, at each reading.",
    ("collection",),
)
MESSAGE_WAIT = Histogram(
    "shotwatch_message_wait_seconds",
    "Time from a message's first publication to its handling, with earlier attempts and their pauses. "
    "Unknown, and left out, for messages that others publish without the header timestamp_in_ms.",
    STAGE,
    unit="seconds",
    buckets=WAIT_BUCKETS,
)
MESSAGE_WORK = Histogram(
    "shotwatch_message_work_seconds",
    "Time to handle a message, whatever the outcome.",
    STAGE,
    unit="seconds",
    buckets=WORK_BUCKETS,
)
MESSAGES_IN_FLIGHT = Gauge("shotwatch_messages_in_flight", "Messages that are being handled.", STAGE)
MESSAGES_HELD = Gauge(
    "shotwatch_messages_held",
    "Messages in hand that wait: for a server that does not answer, or until the queue of the next stage is "
    "short again.",
    (*STAGE, "why"),
)
CONSUMERS = Gauge("shotwatch_consumers", "Consumers of the stage's queue that this process has.", STAGE)
BATCH_RECORDS = Histogram(
    "shotwatch_batch_records",
    "Records in one message (ingest: in one file, validate, aggregate), or shots (later stages).",
    STAGE,
    buckets=BATCH_BUCKETS,
)

BACKGROUND_FAILURES = Counter(
    "shotwatch_background_failures_total",
    "Attempts of background work that failed, by function: on one item, or as a whole.",
    ("work",),
)
BACKGROUND_WAITING = Gauge(
    "shotwatch_background_waiting",
    "Items of background work that failed and wait for their next attempt; 1 for work that fails as a whole.",
    ("work",),
)

FILES = Counter(
    "shotwatch_files_total",
    "Objects of the inbox that entered a state of the ledger: ingested, rejected, ignored; each counts once.",
    ("outcome", "reason"),
)
LAST_FILE = Gauge(
    "shotwatch_last_file_timestamp_seconds",
    "When the store received the object that was settled last.",
    unit="seconds",
)
SWEEP_FOUND = Counter(
    "shotwatch_sweep_found_total", "Objects that the sweep found waiting and passed to ingest."
)
SWEEP_DURATION = Histogram(
    "shotwatch_sweep_seconds", "Duration of a sweep of the inbox.", unit="seconds", buckets=WORK_BUCKETS
)
SWEEP_LAST_SUCCESS = Gauge(
    "shotwatch_sweep_last_success_timestamp_seconds", "End of the last complete sweep.", unit="seconds"
)

LEDGER_OBJECTS = Gauge(
    "shotwatch_ledger_objects", "Objects that arrived in the last hour, by state.", ("state",)
)
LEDGER_UNACCOUNTED = Gauge(
    "shotwatch_ledger_unaccounted", "Imbalances of the ledger that two checks found one after the other."
)
LEDGER_CHECKED = Gauge(
    "shotwatch_ledger_checked_timestamp_seconds", "When the ledger was last checked.", unit="seconds"
)

RECORDS = Counter(
    "shotwatch_records_total",
    "Records judged, by kind of device and verdict: valid, or the reason of the refusal.",
    (*PLACE, "kind", "verdict"),
)

SHOTS = Counter("shotwatch_shots_total", "Shots closed for the first time.", ("completeness",))
SHOTS_REVISED = Counter(
    "shotwatch_shots_revised_total", "Shots closed again: a record came late, or a file was sent again."
)
WINDOWS_OPEN = Gauge(
    "shotwatch_windows_open", "Windows with open shots in the database; every replica reports the same value."
)

BLOCKS = Counter("shotwatch_blocks_total", "Blocks read or written.", ("direction",))
BLOCK_BYTES = Counter(
    "shotwatch_block_bytes_total", "Bytes of the blocks read or written.", ("direction",), unit="bytes"
)
BLOCK_CACHE = Counter(
    "shotwatch_block_cache_total",
    "Blocks that were asked of the block cache (hit, miss; unreadable: damaged, or an I/O error), or "
    "written to it (kept; not_kept: no room, or an I/O error).",
    ("outcome",),
)
BLOCK_CACHE_BYTES = Counter(
    "shotwatch_block_cache_bytes_total", "Bytes of the blocks found or kept.", ("outcome",), unit="bytes"
)

ENERGY = Gauge("shotwatch_energy_joules", "Energy of the last shot measured.", DEVICE, unit="joules")
POINTING_X = Gauge(
    "shotwatch_pointing_x_pixels",
    "Column of the last shot's centre of light, from that of the camera's reference.",
    DEVICE,
    unit="pixels",
)
POINTING_Y = Gauge(
    "shotwatch_pointing_y_pixels",
    "Row of the last shot's centre of light, from that of the camera's reference.",
    DEVICE,
    unit="pixels",
)
BEAM_SIZE_MAJOR = Gauge(
    "shotwatch_beam_size_major_pixels", "D4σ beam width of the last shot, major axis.", DEVICE, unit="pixels"
)
BEAM_SIZE_MINOR = Gauge(
    "shotwatch_beam_size_minor_pixels", "D4σ beam width of the last shot, minor axis.", DEVICE, unit="pixels"
)

SHOTS_JUDGED = Counter("shotwatch_shots_judged_total", "Shots judged.", PLACE)
SCORE = Gauge("shotwatch_score", "Score of the last shot that a model judged.", PLACE)
THRESHOLD = Gauge(
    "shotwatch_threshold", "Threshold of the score: a shot with a higher score is anomalous.", PLACE
)
EVENT_LABELS = (*PLACE, "kind", "severity", "phase")
EVENTS = Counter("shotwatch_events_total", "Anomaly events published.", EVENT_LABELS)
SNOOZED_EVENTS = Counter(
    "shotwatch_snoozed_events_total", "Anomaly events stored and not published.", EVENT_LABELS
)
EVENT_LATENCY = Histogram(
    "shotwatch_event_latency_seconds",
    "Time from the arrival of the last file of the shots to the publication of an event about them.",
    unit="seconds",
    buckets=LATENCY_BUCKETS,
)
MODEL = Info("shotwatch_model", "Version of the model that is loaded for each alias.", ("alias",))
MODEL_LOADED = Gauge(
    "shotwatch_model_loaded_timestamp_seconds", "When this version was loaded.", ("alias",), unit="seconds"
)
MODEL_NOT_LOADED = Gauge(
    "shotwatch_model_not_loaded",
    "1 while the version that has the alias cannot be loaded, or is not the one that was promoted; else 0.",
    ("alias",),
)
MODEL_LOAD_FAILURES = Counter(
    "shotwatch_model_load_failures_total",
    "Failed attempts to load the version that has the alias.",
    ("alias",),
)
PROMOTION_DIFFERENCES = Gauge(
    "shotwatch_promotion_differences",
    "Promotions of the model that the audit does not show, and lines of the audit about promotions that were "
    "not made.",
)
DRIFT = Gauge(
    "shotwatch_drift",
    "Largest shift of a feature of the device from what the champion was trained on, in its robust standard "
    "deviations, either side.",
    DEVICE,
)
OPINIONS = Counter("shotwatch_opinions_total", "Statements about events.", ("opinion",))
API_PROBLEMS = Counter(
    "shotwatch_api_problems_total",
    "Requests to the REST API that were answered with a problem: 401 and 403 are refused callers, 429 "
    "and 503 limits and unavailable servers.",
    ("status",),
)

LAST_MEASURED: Mapping[str, Gauge] = {
    "energy": ENERGY,
    "pointing_x": POINTING_X,
    "pointing_y": POINTING_Y,
    "d4sigma_major": BEAM_SIZE_MAJOR,
    "d4sigma_minor": BEAM_SIZE_MINOR,
}
"""Features whose newest value is exported."""


def publish_build(service: str) -> None:
    BUILD.info({"service": service, "version": version(f"shotwatch-{service}")})


@contextmanager
def message_in_work(stage: str) -> Iterator[None]:
    """Measure the handling of a message.

    A message whose settlement fails is not timed: it is redelivered, and timed then.
    """
    with MESSAGES_IN_FLIGHT.labels(stage).track_inprogress():
        began = perf_counter()
        yield
        MESSAGE_WORK.labels(stage).observe(perf_counter() - began, _exemplar())


def message_waited(stage: str, published_at: int) -> None:
    """Record how long a message waited; `published_at` is epoch ms, by the publisher's clock."""
    MESSAGE_WAIT.labels(stage).observe(_seconds_since(published_at), _exemplar())


def attempt_failed(stage: str, class_: Settlement, error: Exception) -> None:
    reason = error.reason if isinstance(error, Reject) else type(error).__name__
    FAILURES.labels(stage, class_, reason).inc()


def file_settled(obj: ObjectRef, state: ObjectState, reason: str) -> None:
    FILES.labels(state, reason).inc()
    LAST_FILE.set(obj.arrived_at / 1000)


@contextmanager
def sweep() -> Iterator[None]:
    """Measure one sweep of the inbox."""
    with SWEEP_DURATION.time():
        yield
    SWEEP_LAST_SUCCESS.set_to_current_time()


def records_judged(judged: JudgedRecords) -> None:
    verdicts = {"valid": int((judged.verdict == VALID).sum()), **judged.refused}
    for verdict, count in verdicts.items():
        RECORDS.labels(str(judged.series.place), judged.kind, verdict).inc(count)


def shots_closed(batch: ShotBatch) -> None:
    first = batch.revisions == 1
    SHOTS.labels(Completeness.COMPLETE).inc(int((first & batch.complete).sum()))
    SHOTS.labels(Completeness.INCOMPLETE).inc(int((first & ~batch.complete).sum()))
    SHOTS_REVISED.inc(int((~first).sum()))


def block_read(size: int) -> None:
    _count_block("read", size)


def block_written(size: int) -> None:
    _count_block("written", size)


def block_cache(outcome: CacheOutcome, size: int = 0) -> None:
    """Count a block that was asked of the block cache or written to it; `size` if it is there."""
    BLOCK_CACHE.labels(outcome).inc()
    if size:
        BLOCK_CACHE_BYTES.labels(outcome).inc(size)


def shots_measured(
    series: ShotSeries, measured: Mapping[str, Mapping[str, NDArray[np.float64]]], facility: Facility
) -> None:
    """Export the newest values of features, of devices that the facility file lists.

    `measured`: device → feature → one entry per shot, NaN where there is no value.
    """
    for device, features in measured.items():
        if not facility.lists(device):
            continue
        for name in LAST_MEASURED.keys() & features.keys():
            known = features[name][np.isfinite(features[name])]
            if len(known):
                LAST_MEASURED[name].labels(str(series.place), device).set(known[-1])


def shots_judged(series: ShotSeries, shots: int, score: float | None, threshold: float | None) -> None:
    """Count judged shots, and export score and threshold of the last one; both are None without a model."""
    SHOTS_JUDGED.labels(str(series.place)).inc(shots)
    if score is not None and threshold is not None:
        SCORE.labels(str(series.place)).set(score)
        THRESHOLD.labels(str(series.place)).set(threshold)


def event_published(event: AnomalyEvent, snoozed: bool, arrived_at: int | None) -> None:
    """Count a published or snoozed event, and record its latency.

    `arrived_at`: when the store received the last file of its shots (epoch ms), None if unknown.
    """
    about = event.data
    labels = (str(about.place), about.kind, about.severity, about.phase)
    (SNOOZED_EVENTS if snoozed else EVENTS).labels(*labels).inc()
    if arrived_at is not None and not snoozed:
        EVENT_LATENCY.observe(_seconds_since(arrived_at), _exemplar())


def model_loaded(alias: ModelAlias, model: ModelRef) -> None:
    MODEL.labels(alias).info({"version": model.version, "run": model.run_id})
    MODEL_LOADED.labels(alias).set_to_current_time()
    MODEL_NOT_LOADED.labels(alias).set(0)


def model_not_loaded(alias: ModelAlias) -> None:
    MODEL_NOT_LOADED.labels(alias).set(1)
    MODEL_LOAD_FAILURES.labels(alias).inc()


def model_is_the_one_loaded(alias: ModelAlias) -> None:
    """Record that the alias is back at the loaded version, after a version that could not be loaded."""
    MODEL_NOT_LOADED.labels(alias).set(0)


def model_withdrawn(alias: ModelAlias) -> None:
    MODEL.remove(alias)
    MODEL_LOADED.remove(alias)
    MODEL_NOT_LOADED.labels(alias).set(0)


def drift_measured(series: ShotSeries, device: str, shifts: Iterable[float]) -> None:
    """Export the largest shift of a device's features; `shifts` has one entry per feature."""
    DRIFT.labels(str(series.place), device).set(max(map(abs, shifts)))


def _count_block(direction: str, size: int) -> None:
    BLOCKS.labels(direction).inc()
    BLOCK_BYTES.labels(direction).inc(size)


def _seconds_since(epoch: int) -> float:
    """Return the seconds since a time (epoch ms); never negative, although clocks of machines differ."""
    return max(epoch_now() - epoch, 0) / 1000


def _exemplar() -> dict[str, str] | None:
    """Return the current trace as an exemplar; None outside a trace."""
    trace_id = current_trace_id()
    return {"trace_id": trace_id} if trace_id else None
