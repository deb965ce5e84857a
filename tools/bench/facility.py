"""The whole facility on the embedded stack: does it keep up, what does it cost, how long does a shot take?

    python -m tools.bench.facility --minutes 10 --pace 1.0     # or: make bench-facility MINUTES=10 PACE=1.0
    python -m tools.bench.facility --minutes 3 --pace max      # the real-time factor by the clock

Every place of the facility file is simulated, one file for each device and minute. The files of minute k are
uploaded at k · 60 / PACE seconds after those of the first minute, all at once, as a control system closes
them. At the pace `max`, a minute is uploaded as soon as fewer files wait than a minute has. So the services
never wait for files, at most two minutes wait, and the factor includes the begin and the end of the run, in
which not all services have work.

Single shots of one more place are uploaded all the while, and alone before. Before anything is measured, the
files are made (or found in the cache), a model is trained, and the references of the cameras are known.
Broker, database, store, model registry and the uploads share the machine with the services. Times of joining
and judging are those in the ledger and the shots, read after the run.

The report goes to `build/bench-facility`: report.md, report.json, timeline.svg.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isinf
from pathlib import Path
from time import monotonic, time
from typing import Annotated

import numpy as np
import typer

from shotwatch_cli.broker import connected
from shotwatch_cli.demo.command import fresh_stack
from shotwatch_cli.demo.figures import MINUTE_MS
from shotwatch_cli.demo.run import Demo, EventRecorder, running, timeout
from shotwatch_cli.demo.scenario import DEFAULT_SEED, LIVE_START
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.failures import Failure
from shotwatch_cli.output import LiteralConsole, stderr, stdout
from shotwatch_cli.uploads import Upload, planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.archive.shots import ANY_SHOT
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.stack import Stack
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.ledger import NOT_YET
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_simulator.simulation import Simulation

from .facility_report import RunReport, write_report
from .made_files import CACHE, made_files
from .minutes import ShotTimes, UploadedMinute, due_s, parse_pace
from .single_shots import PROBE, Probe, Shot, single_shots, with_probe
from .usage import watched

FACILITY = Path("facilities/hpls.yaml")
OUT = Path("build/bench-facility")
LEARNING = {"100ms": timedelta(seconds=12), "1s": timedelta(minutes=2), "60s": timedelta(minutes=30)}
"""The length of the data from which the model learns a place, by its interval."""
SHOTS_OF_REFERENCE = 100
"""Features measures a camera against a reference when history has this many shots of it."""
CALIBRATIONS_KNOWN_S = 12.0
"""After this time the features service has loaded new calibration constants."""
SINGLE_SHOTS_AFTER = timedelta(days=1)
"""Single shots are this much later in facility time than the minutes."""
ALONE = 20
"""Number of single shots before the first minute, one a second."""
BESIDE_EVERY_S = 4.0
SINGLE_SHOTS_PER_MINUTE = 30
"""Number of single shots that are made for each minute: twice as many as its sixty seconds take."""
RAISED_WITHIN_S = 60.0
POLL_S = 1.0
STALLED_S = 180.0


@dataclass(frozen=True, slots=True)
class FacilityMinute:
    """The files of a facility minute."""

    start_ms: int
    """Facility time of its first pulse, epoch ms."""
    shots: int
    uploads: Sequence[Upload]

    @property
    def end_ms(self) -> int:
        return self.start_ms + MINUTE_MS


@dataclass(frozen=True, slots=True)
class Load:
    """The files of a run; all are made before anything is measured."""

    minutes: Sequence[FacilityMinute]
    single_shots: Sequence[Shot]


def main(
    minutes: Annotated[int, typer.Option(min=1, help="Facility minutes.")] = 2,
    pace: Annotated[str, typer.Option(help="Facility minutes per minute, or max.")] = "1.0",
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = OUT,
) -> None:
    """Run the whole facility through the embedded stack and report how it did."""
    try:
        chosen = parse_pace(pace)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    report = asyncio.run(_main(minutes, chosen, out, stderr))
    stdout.print(write_report(report, out), soft_wrap=True)
    stderr.print(f"report.md, report.json and timeline.svg are in {out}")


async def _main(minutes: int, pace: float, out: Path, console: LiteralConsole) -> RunReport:
    ensure_rabbitmq(install=True)
    path = with_probe(FACILITY, out)
    facility = load_facility(path)
    load_places = tuple(expected for expected in facility.places if expected.series != PROBE)
    console.print(f"making the files of {minutes} minutes, or finding them under {CACHE} …")
    load = made_load(facility, load_places, PROBE, minutes)
    learning = list(learning_files(facility))
    console.print("starting the stack …")
    async with fresh_stack("bench", path) as stack:
        await stack.services_ready()
        settings = settings_of(stack.environment())
        await _learn(Demo(stack, settings, facility, console), facility, settings, learning)
        return await measured(stack, settings, load, pace, console)


def made_load(
    facility: Facility,
    load_places: tuple[ExpectedDevices, ...],
    probe: ShotSeries,
    minutes: int,
    start: datetime = LIVE_START,
    cache: Path = CACHE,
) -> Load:
    """Make the files of consecutive minutes of these places, and the single shots of the probe."""
    shots = sum(MINUTE_MS // facility.interval(expected.interval).period_ms for expected in load_places)
    one = timedelta(minutes=1)
    made = []
    for number in range(minutes):
        begin = start + number * one
        files = made_files(Simulation(facility, load_places, begin, one, DEFAULT_SEED), cache)
        made.append(FacilityMinute(epoch_ms(begin), shots, planned_uploads(files)))
    count = ALONE + minutes * SINGLE_SHOTS_PER_MINUTE
    return Load(made, single_shots(facility, probe, start + SINGLE_SHOTS_AFTER, count, DEFAULT_SEED, cache))


def learning_files(facility: Facility) -> Iterator[Path]:
    """Yield normal files of every place, from the time before the first minute."""
    for interval, length in LEARNING.items():
        places = tuple(expected for expected in facility.places if expected.interval == interval)
        yield from made_files(Simulation(facility, places, LIVE_START - length, length, DEFAULT_SEED))


async def _learn(demo: Demo, facility: Facility, settings: BrokerSettings, files: Sequence[Path]) -> None:
    """Train a model, and wait until features uses the references of the cameras.

    Without a reference, measuring a camera's frame in detail takes twenty times as long. In service, cameras
    have references.
    """
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        await demo.feed(store, archive, "learning", files)
        await demo.train()
        async with timeout("history does not make the references"):
            while len(await archive.calibration_constants.latest()) < _cameras(facility):
                await asyncio.sleep(1)
    await asyncio.sleep(CALIBRATIONS_KNOWN_S)


def _cameras(facility: Facility) -> int:
    """Return how many cameras have enough shots for a reference after learning."""
    return sum(
        facility.device_type(group).kind is DeviceKind.CAMERA
        for expected in facility.places
        if LEARNING[expected.interval] / timedelta(milliseconds=1)
        >= SHOTS_OF_REFERENCE * facility.interval(expected.interval).period_ms
        for group in expected.devices
    )


async def measured(
    stack: Stack, settings: BrokerSettings, load: Load, pace: float, console: LiteralConsole
) -> RunReport:
    """Upload the load at this pace to a stack whose services are ready, and return the figures.

    Raises:
        Failure: nothing has moved for minutes, and not every shot of the minutes is judged.
    """
    events, url = EventRecorder(LiteralConsole(quiet=True)), settings.broker_url.get_secret_value()
    async with (
        ObjectStore.of(settings) as store,
        Archive.of(settings) as archive,
        running(events.listen, settings),
        connected(url) as connection,
    ):
        work = await (await connection.channel()).get_exchange(Topology(settings.prefix).work.name)
        probe = Probe(settings, store, work, events, load.single_shots)
        console.print(f"{ALONE} single shots alone …")
        await probe.upload(ALONE, 1.0)
        await probe.all_raised(RAISED_WITHIN_S)
        run = FacilityRun(store, archive, settings.inbox_bucket, console)
        async with watched(stack) as usage, _beside(probe):
            uploaded = await run.upload(load.minutes, pace)
            await run.judged(load.minutes)
        await probe.all_raised(RAISED_WITHIN_S)
        shots, joined = await _shot_times(archive, load.minutes), await _joined(archive, load.minutes)
    return RunReport(pace, uploaded, shots, joined, probe.results(), usage)


@asynccontextmanager
async def _beside(probe: Probe) -> AsyncIterator[None]:
    """Upload single shots while the context is open."""
    uploading = asyncio.create_task(probe.upload(len(probe.shots), BESIDE_EVERY_S))
    try:
        yield
    finally:
        uploading.cancel()
        await asyncio.wait([uploading])


@dataclass
class FacilityRun:
    """The upload of the minutes, and the wait for their judgement."""

    store: ObjectStore
    archive: Archive
    inbox: str
    console: LiteralConsole

    async def upload(self, minutes: Sequence[FacilityMinute], pace: float) -> list[UploadedMinute]:
        """Upload each minute when it is due."""
        started = monotonic()
        uploaded = []
        for number, minute in enumerate(minutes):
            await asyncio.sleep(started + due_s(number, pace) - monotonic())
            if number and isinf(pace):
                await self._fewer_files_wait(len(minute.uploads))
            uploaded.append(await self._upload(minute))
            began, took = uploaded[-1].began - uploaded[0].began, uploaded[-1].ended - uploaded[-1].began
            files, shots = await self.waiting()
            self.console.print(
                f"minute {number + 1} of {len(minutes)}: uploaded at {began:.0f} s in {took:.1f} s; "
                f"{files} files and {shots} shots wait"
            )
        return uploaded

    async def judged(self, minutes: Sequence[FacilityMinute]) -> None:
        """Wait until every shot of the minutes is judged.

        Raises:
            Failure: the number of waiting files and shots has not changed for STALLED_S seconds.
        """
        changed, before = monotonic(), (-1, -1)
        while before != (0, 0) or not await self._all_judged(minutes):
            if (now := await self.waiting()) != before:
                changed, before = monotonic(), now
            elif monotonic() - changed > STALLED_S:
                raise Failure(
                    f"{now[0]} files and {now[1]} shots wait, and nothing has moved for {STALLED_S:g} s",
                    "the logs of the services are in the stack's folder, under logs/",
                )
            await asyncio.sleep(POLL_S)

    async def _upload(self, minute: FacilityMinute) -> UploadedMinute:
        arrived: dict[str, float] = {}
        began = time()

        def done(upload: Upload) -> None:
            arrived[upload.key] = time()

        await upload_all(self.store, self.inbox, minute.uploads, done)
        size = sum(upload.size for upload in minute.uploads)
        return UploadedMinute(minute.start_ms, minute.shots, size, began, arrived)

    async def _fewer_files_wait(self, than: int) -> None:
        while (await self.waiting())[0] >= than:
            await asyncio.sleep(POLL_S)

    async def waiting(self) -> tuple[int, int]:
        """Return how many files are not joined, and how many shots are closed and not judged."""
        in_inbox = [found async for found in self.store.list(self.inbox)]
        unjoined = await self.archive.ledger.unjoined()
        return len(in_inbox) + unjoined, await self.archive.batches.unjudged()

    async def _all_judged(self, minutes: Sequence[FacilityMinute]) -> bool:
        judged = await self.archive.shots.count(ANY_SHOT, minutes[0].start_ms, minutes[-1].end_ms)
        return judged >= sum(minute.shots for minute in minutes)


async def _shot_times(archive: Archive, minutes: Sequence[FacilityMinute]) -> ShotTimes:
    """Return when the shots of the minutes were closed and judged, as the archive has it."""
    pulses: list[int] = []
    closed: list[int] = []
    judged: list[int] = []
    for minute in minutes:
        shots = await archive.shots.page(ANY_SHOT, minute.start_ms, minute.end_ms)
        windows = sorted({shot.window for shot in shots})
        closed_at = {batch.batch_id: batch.closed_at async for batch in archive.batches.closed(windows)}
        pulses += [shot.pulse for shot in shots]
        closed += [closed_at[shot.batch] for shot in shots]
        judged += [shot.judged_at for shot in shots]
    return ShotTimes(np.array(pulses), np.array(closed) / 1000, np.array(judged) / 1000)


async def _joined(archive: Archive, minutes: Sequence[FacilityMinute]) -> Mapping[str, float]:
    """Return when each file of the minutes was joined (seconds since the epoch), by key."""
    keys = [upload.key for minute in minutes for upload in minute.uploads]
    entries = await archive.ledger.newest(keys)
    return {entry.ref.key: entry.joined_at / 1000 for entry in entries if entry.joined_at != NOT_YET}


if __name__ == "__main__":
    typer.run(main)
