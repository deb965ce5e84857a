"""What services count on real servers: it agrees with the ledger, and Prometheus takes it up."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shotwatch_common.topology import STAGES
from shotwatch_shots.vocabulary import FileReason, ObjectState
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.simulation import simulate

from .conftest import FOREVER_MS, REPOSITORY, Running, scrape_targets, until
from .prometheus import Prometheus, promtool
from .test_path import events_of, shots_of, simulation, spans, trace_id_of

Figures = Counter[tuple[str, ...]]
"""Name of a sample and the values of its labels, in the order of their names → sum over all processes."""
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


async def figures(running: Running) -> Figures:
    summed: Figures = Counter()
    async with aiohttp.ClientSession(headers=OPENMETRICS) as session:
        for ports in scrape_targets(running.stack).values():
            for port in ports:
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    _add(await response.text(), summed)
    return summed


def _add(exposition: str, summed: Figures) -> None:
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            summed[sample.name, *(value for _, value in sorted(sample.labels.items()))] += sample.value


async def ledger(running: Running) -> Counter[str]:
    """State → objects."""
    return Counter((await running.archive.ledger.tally(0, FOREVER_MS)).states)


async def test_what_services_count_is_what_ledger_and_archive_hold(running: Running, tmp_path: Path) -> None:
    minute = simulation(running, datetime(2022, 7, 6, 8, tzinfo=UTC), kinds=[Kind.BLACK_FRAME])
    files = list(simulate(minute, tmp_path))
    await running.judged()
    counted, known = await figures(running), await ledger(running)
    inbox = running.settings.inbox_bucket
    await running.store.put(inbox, files[0].name.replace("_08-", "_09-"), b"")
    await running.store.put(inbox, "metrics.txt", b"not a snapshot")
    await running.upload(*files)
    await running.judged()

    gone = await ledger(running) - known
    complete = Counter(shot.complete for shot in await shots_of(running.archive, minute))
    (event,) = await events_of(running.archive, minute)
    reported = (event.data.kind, event.data.phase, "LA-A2-00", event.data.severity)
    expected: Figures = Counter(
        {
            ("shotwatch_files_total", "ingested", ""): gone[ObjectState.INGESTED],
            ("shotwatch_files_total", "rejected", FileReason.EMPTY): gone[ObjectState.REJECTED],
            ("shotwatch_files_total", "ignored", ""): gone[ObjectState.IGNORED],
            ("shotwatch_messages_total", "done", "ingest"): len(files) + 2,
            ("shotwatch_messages_total", "done", "validate"): len(files),
            ("shotwatch_message_wait_seconds_count", "aggregate"): len(files),
            ("shotwatch_shots_total", "complete"): complete[True],
            ("shotwatch_shots_total", "incomplete"): complete[False],
            ("shotwatch_shots_judged_total", "LA-A2-00"): 60,
            ("shotwatch_events_total", *reported): 1,
            ("shotwatch_event_latency_seconds_count",): 1,
        }
    )
    assert sum(gone.values()) == len(files) + 2

    async def agrees() -> bool:
        more = await figures(running) - counted
        return all(more[name] == count for name, count in expected.items())

    await until(agrees, f"counted: {expected}")


async def test_prometheus_scrapes_every_service_and_an_exemplar_leads_to_a_trace(
    running: Running, prometheus: Prometheus, tmp_path: Path
) -> None:
    second = simulation(running, datetime(2022, 7, 6, 10, tzinfo=UTC))
    await running.upload(*simulate(second, tmp_path))
    await running.judged()

    async def agrees() -> bool:
        (found,) = await prometheus.query('sum(shotwatch_files_total{outcome="ingested"})')
        return float(found["value"][1]) == (await figures(running))["shotwatch_files_total", "ingested", ""]

    await until(agrees, "Prometheus has the services' figure")
    built = {series["metric"]["job"] for series in await prometheus.query("shotwatch_build_info")}
    assert built == scrape_targets(running.stack).keys()
    consumers = await prometheus.query("sum by (stage) (shotwatch_consumers)")
    assert {series["metric"]["stage"] for series in consumers if series["value"][1] != "0"} == set(STAGES)

    traces = {
        exemplar["labels"]["trace_id"]
        for exemplar in await prometheus.exemplars('shotwatch_message_work_seconds_bucket{stage="features"}')
    }
    assert traces

    async def exported() -> bool:
        return traces <= set(map(trace_id_of, spans(running.stack)))

    await until(exported, "spans of every exemplar's trace")


def test_the_deployed_configuration_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    """With the file of the token that Compose mounts."""
    text = (REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "store-monitor-token").write_text("a.b.c", encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    promtool("check", "config", tmp_path / "prometheus.yml")
