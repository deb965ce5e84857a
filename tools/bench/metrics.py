"""The cost of metrics: per message, and per scrape by Prometheus.

    python -m tools.bench.metrics

The cost per message covers all metrics that the bus records for a successful message, in a recorded span as
in a service, so that exemplars are kept. For comparison, decoding a file's message of 600 records is measured
alternately. A scrape returns the page of a process that knows every device of the facility. Not included: the
metrics that the services record themselves.
"""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.exposition import generate_latest

from shotwatch_common import metrics
from shotwatch_common.clock import epoch_now
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef, DeviceRecords, FileIngested, ObjectRef
from shotwatch_shots.vocabulary import Settlement

FACILITY = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
RECORDS, MESSAGES, TURNS, SCRAPES = 600, 2000, 9, 20


def main() -> None:
    print_setup()
    body = made_message()
    tracer = TracerProvider().get_tracer("bench")
    counting, decoding = [], []
    for _ in range(TURNS):
        with tracer.start_as_current_span("bench"):
            counting.append(cpu_s(count_message, MESSAGES))
        decoding.append(cpu_s(lambda: FileIngested.model_validate_json(body), MESSAGES // 10))
    share = median(c / d for c, d in zip(counting, decoding, strict=True))
    print(f"counting a message        {median(counting) * 1e6:8.1f} µs of CPU")
    print(f"decoding its body         {median(decoding) * 1e6:8.1f} µs of CPU; counting is {share:.1%} of it")
    know_every_device(load_facility(FACILITY))
    scrape = cpu_s(page, SCRAPES)
    print(f"a scrape                  {scrape * 1e3:8.1f} ms of CPU, {len(page()) >> 10} KiB")


def page() -> bytes:
    """Return what Prometheus reads."""
    return bytes(generate_latest(REGISTRY))  # type: ignore[no-untyped-call]


def print_setup() -> None:
    print(f"Python {platform.python_version()}, prometheus-client {version('prometheus-client')}")
    print(f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}")
    print(f"CPU time of the process, median of {TURNS} turns")


def count_message() -> None:
    metrics.message_waited("bench", epoch_now() - 20)
    with metrics.message_in_work("bench"):
        metrics.BATCH_RECORDS.labels("bench").observe(RECORDS)
    metrics.MESSAGES.labels("bench", Settlement.DONE).inc()


def know_every_device(facility: Facility) -> None:
    for expected in facility.places:
        measured = dict.fromkeys(metrics.LAST_MEASURED, np.ones(1))
        metrics.shots_measured(expected.series, dict.fromkeys(expected.devices, measured), facility)


def made_message() -> bytes:
    series = ShotSeries.parse("LA-A2-00-100ms")
    records = DeviceRecords(
        device="LA_A2-Other_1-Other-1",
        kind=DeviceKind.OTHER,
        series=series,
        block=BlockRef(bucket="blocks", key="block", object_id="id", object_key="key"),
        times=list(range(RECORDS)),
        states=["ON"],
        state=[0] * RECORDS,
        problems=[],
        digest=None,
    )
    obj = ObjectRef(object_id="id", bucket="inbox", key="key", etag="tag", size=1, arrived_at=1)
    return FileIngested(object=obj, devices=[records]).model_dump_json().encode()


def cpu_s(work: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call."""
    began = process_time()
    for _ in range(times):
        work()
    return (process_time() - began) / times


if __name__ == "__main__":
    main()
