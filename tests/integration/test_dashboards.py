"""Dashboards and alerts on a stack through which files went: panels show something, alerts fire."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from shotwatch_shots.vocabulary import FileReason, ObjectState
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.simulation import simulate
from tests.unit.test_deploy_dashboards import asked

from .conftest import Running
from .panels import filled, shows
from .prometheus import Prometheus
from .test_cli import shotwatch
from .test_dead import dead_letter_unknown_batch
from .test_path import events_of, simulation, spans
from .waiting import until

MINUTE = timedelta(minutes=1)
START = datetime(2025, 7, 6, 12, tzinfo=UTC)
"""Later than what other tests record at the place: slow changes are sought in its newest data."""
PLACE = {"place": "LA-A2-00"}
EMPTY_HERE = {
    ("Beam", "Score"): "needs a model: test_models.py",
    ("Models", "Versions"): "needs a model: test_models.py",
    ("Models", "Loaded"): "needs a model: test_models.py",
    ("Models", "Drift"): "needs a model: test_models.py",
    ("Models", "Furthest off now"): "needs a model: test_models.py",
    ("Models", "Snoozed"): "needs somebody who snoozes",
    ("Traces", "Spans, p99"): "comes from the collector",
}
"""Panels that have nothing to show on this stack, and why."""


async def test_every_panel_shows_something_once_files_alarms_opinions_and_failures_came(
    running: Running, prometheus: Prometheus, tmp_path: Path
) -> None:
    await dead_letter_unknown_batch(running, "dashboards")
    for minute in range(2):  # what is first seen by Prometheus with its first value has no rate
        anomalous = simulation(running, START + minute * MINUTE, kinds=[Kind.BLACK_FRAME])
        await running.upload(*simulate(anomalous, tmp_path / str(minute)))
        await running.judged()
        await prometheus_has_seen(prometheus)
        await dead_letter_unknown_batch(running, f"dashboards {minute}")
    (event,) = await events_of(running.archive, anomalous)
    await pointing_is_reported(running, prometheus, tmp_path)
    assert (await shotwatch(running, "events", "false", event.id)).exit_code == 0
    questions = [each for each in asked() if each.source == "prometheus"]
    assert {(each.dashboard, each.panel) for each in questions} >= EMPTY_HERE.keys()
    for each in questions:
        await prometheus.parse(filled(each.query, PLACE))
        if (each.dashboard, each.panel) not in EMPTY_HERE:
            await shows(prometheus, each, PLACE)


async def pointing_is_reported(running: Running, prometheus: Prometheus, folder: Path) -> None:
    """Send seconds until a camera's reference, made of the minutes before, is at work."""
    starts = (START + minute * MINUTE for minute in count(2))

    async def reported() -> bool:
        start = next(starts)
        seconds = simulation(running, start, duration=timedelta(seconds=2))
        await running.upload(*simulate(seconds, folder / f"{start:%H-%M}"))
        await running.judged()
        here = filled('shotwatch_pointing_x_pixels{place="$place"}', PLACE)
        return bool(await prometheus.query(here))

    await until(reported, "pointing reported")


async def prometheus_has_seen(prometheus: Prometheus) -> None:
    """Wait for a scrape of every process that begins after this."""
    now = datetime.now(UTC).timestamp()

    async def scraped() -> bool:
        latest = await prometheus.query("min(timestamp(up))")
        return float(latest[0]["value"][1]) > now

    await until(scraped, "scraped again")


async def test_a_dead_lettered_message_and_a_service_that_does_not_answer_raise_alerts(
    running: Running, prometheus: Prometheus
) -> None:
    await dead_letter_unknown_batch(running, "alarming")
    await until(
        lambda: prometheus.fires("ShotwatchDeadLetters", queue="shotwatch.detail.dead_letters"),
        "dead-lettered: an alert",
    )

    async def over() -> bool:
        return not await prometheus.fires("ShotwatchServiceDown")

    await until(over, "all services answer")
    with stopped(running, "history-1"):
        await until(lambda: prometheus.fires("ShotwatchServiceDown", job="history"), "down: an alert")
    await until(over, "the alert is over")


@contextmanager
def stopped(running: Running, name: str) -> Iterator[None]:
    """The process stands still meanwhile."""
    (pid,) = (process.pid for process in running.stack.status() if process.name == name)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_what_traceql_asks_for_is_on_exported_spans(running: Running) -> None:
    name = "LA_Camera-traced_1s_snapshot_2025-07-06_13-00-00.h5"
    await running.store.put(running.settings.inbox_bucket, name, b"")
    await running.judged()
    await dead_letter_unknown_batch(running, "traced")
    queries = " ".join(each.query for each in asked() if each.source == "tempo")
    assert set(re.findall(r"span\.([\w.]+)", queries)) == {"shotwatch.object", "shotwatch.state"}
    assert set(re.findall(r"resource\.([\w.]+)", queries)) == {"service.name"}

    async def exported() -> bool:
        found = spans(running.stack)
        rejected = [
            span for span in found if span["attributes"].get("shotwatch.state") == ObjectState.REJECTED
        ]
        failed = [span for span in found if span["status"]["status_code"] == "ERROR"]
        return (
            all(span["resource"]["attributes"]["service.name"].startswith("shotwatch-") for span in found)
            and any(span["attributes"]["shotwatch.object"] == name for span in rejected)
            and any("traced" in json.dumps(span["events"]) for span in failed)
        )

    await until(exported, f"spans of {name} ({FileReason.EMPTY}) and of a message that failed")
