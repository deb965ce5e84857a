"""The demo itself: start, train, watch, check the totals."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic

import httpx

from shotwatch_cli.balance import reconciling, take_balance
from shotwatch_cli.broker import EventStream
from shotwatch_cli.demo.figures import (
    MINUTE_MS,
    Minute,
    ReceivedEvent,
    by_kind,
    false_alarms,
    latencies,
    reported_in,
    slow_changes,
)
from shotwatch_cli.demo.report import Report, Throughput
from shotwatch_cli.demo.scenario import Scenario
from shotwatch_cli.events import event_line
from shotwatch_cli.failures import Failure
from shotwatch_cli.output import LiteralConsole, counting, styled, transferring
from shotwatch_cli.steps import Step
from shotwatch_cli.training import train
from shotwatch_cli.uploads import Upload, planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.archive.shots import ANY_SHOT
from shotwatch_common.settings import BrokerSettings, with_settings
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_embedded.stack import Stack
from shotwatch_shots.facility import Facility, FileName
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import ModelAlias, ObjectState, ShotState

Listen = Callable[[BrokerSettings, asyncio.Event], Awaitable[None]]
Reached = Callable[[Archive], Awaitable[bool]]

_TIMEOUT_S = 300.0
_POLL_S = 0.25
_SHOWN_EVENTS = 60
_FOREVER_MS = 2**53


@dataclass
class EventRecorder:
    """A subscriber to all anomaly events, which shows each one and keeps the time at which it came."""

    console: LiteralConsole
    seen: list[ReceivedEvent] = field(default_factory=list)

    async def listen(self, settings: BrokerSettings, listening: asyncio.Event) -> None:
        stream = EventStream(settings.broker_url.get_secret_value(), Topology(settings.prefix))
        async with stream.subscription() as events:
            listening.set()
            async for event in events:
                self.seen.append(ReceivedEvent(event, monotonic()))
                if len(self.seen) <= _SHOWN_EVENTS:
                    self.console.print(event_line(event), soft_wrap=True)
                if len(self.seen) == _SHOWN_EVENTS:
                    self.console.print("… and more; `shotwatch tail` shows every event")


class Demo:
    """One run on a stack whose services are ready."""

    def __init__(
        self, stack: Stack, settings: BrokerSettings, facility: Facility, console: LiteralConsole
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._facility = facility
        self._console = console
        self._uploaded = 0
        self._completed: dict[Minute, float] = {}

    async def run(self, scenario: Scenario) -> Report:
        """Upload the normal files, train, upload the live files, and check the totals."""
        async with ObjectStore.of(self._settings) as store, Archive.of(self._settings) as archive:
            learning = await self.feed(store, archive, "learning", scenario.learning)
            model = await self.train()
            watch = EventRecorder(self._console)
            async with running(watch.listen, self._settings):
                self._console.rule("anomaly events as they are raised")
                live = await self.feed(store, archive, "live", scenario.live, by_minute=True)
            return await self._report(archive, store, scenario, watch.seen, [learning, live], model)

    async def feed(
        self, store: ObjectStore, archive: Archive, name: str, paths: Sequence[Path], by_minute: bool = False
    ) -> Throughput:
        """Upload the files and wait until every shot is judged.

        By minute, the next minute is uploaded when the shots of this one are judged, except those that wait
        for a member. So no file waits behind files that were uploaded earlier.
        """
        uploads = planned_uploads(paths)
        started = monotonic()
        for some in self._minutes(uploads) if by_minute else (uploads,):
            await self._upload(store, name, some)
            await self._until(self._judged, archive)
        await self._until(self._closed, archive)
        return Throughput(name, len(uploads), sum(u.size for u in uploads), monotonic() - started)

    def _minutes(self, uploads: Sequence[Upload]) -> list[list[Upload]]:
        """Return the uploads of each minute, in the order in which the control system closed the files."""
        minutes: defaultdict[datetime, list[Upload]] = defaultdict(list)
        for upload in uploads:
            minutes[self._name_of(upload).starts_at].append(upload)
        return [minutes[starts_at] for starts_at in sorted(minutes)]

    async def _upload(self, store: ObjectStore, name: str, uploads: Sequence[Upload]) -> None:
        with transferring() as progress:
            bar = progress.add_task(f"uploading {name} files", total=sum(u.size for u in uploads))

            def done(upload: Upload) -> None:
                self._uploaded += 1
                file = self._name_of(upload)
                assert file.area is not None, "the names of HPLS's files begin with the beam line"
                minute = file.area.levels[0], file.interval, epoch_ms(file.starts_at) // MINUTE_MS
                self._completed[minute] = monotonic()
                progress.advance(bar, upload.size)

            await upload_all(store, self._settings.inbox_bucket, uploads, done)

    def _name_of(self, upload: Upload) -> FileName:
        name = self._facility.file_name(upload.key)
        assert name is not None
        return name

    async def _until(self, reached: Reached, archive: Archive) -> None:
        """Wait, and show how many shots are judged."""
        with counting() as progress:
            bar = progress.add_task("shots judged", total=None)
            async with timeout("the services have not judged everything"):
                while True:
                    shots = await archive.batches.states(0, _FOREVER_MS)
                    judged, closed = shots[ShotState.JUDGED], sum(shots.values())
                    progress.update(bar, completed=judged, total=closed)
                    if judged == closed and await reached(archive):
                        return
                    await asyncio.sleep(_POLL_S)

    async def _judged(self, archive: Archive) -> bool:
        """Return whether every file is settled and joined, and every shot judged that waits for no member."""
        tally = await archive.ledger.tally(0, _FOREVER_MS)
        settled = tally.objects >= self._uploaded and not tally.states[ObjectState.WAITING]
        return settled and not await archive.ledger.unjoined() and not await archive.batches.unjudged()

    @staticmethod
    async def _closed(archive: Archive) -> bool:
        """Return whether every window of the joined files is closed, and every shot judged."""
        return not await archive.windows.unfinished() and not await archive.batches.unjudged()

    async def train(self) -> str:
        """Train a champion in a process of its own, and wait until inference scores with it."""
        with self._console.status("training") as status:

            def report(step: Step) -> None:
                figures = " ".join(f"{name}={_short(x)}" for name, x in step.items())
                status.update(styled(f"training: {figures}"))

            environment = with_settings(os.environ, self._stack.environment())
            trained = await asyncio.to_thread(train, environment, (), ModelAlias.CHAMPION, report)
            version = str(trained["version"])
            status.update(styled(f"waiting until inference scores with version {version}"))
            await self._scores_with(version)
        self._console.print(f"trained and registered: shotwatch version {version}, alias champion")
        return f"shotwatch version {version}"

    async def _scores_with(self, version: str) -> None:
        ports = [s.port for s in self._stack.status() if s.name.startswith("inference")]
        async with timeout(f"inference does not take up version {version}"), httpx.AsyncClient() as client:
            while not all([await _model(client, port) == version for port in ports]):
                await asyncio.sleep(_POLL_S)

    async def _report(
        self,
        archive: Archive,
        store: ObjectStore,
        scenario: Scenario,
        seen: Sequence[ReceivedEvent],
        throughput: Sequence[Throughput],
        model: str,
    ) -> Report:
        anomalous = {shot for label in scenario.labels for shot in label.shots}
        live = await archive.shots.page(ANY_SHOT, scenario.live_from, _FOREVER_MS)
        everything = await archive.shots.count(ANY_SHOT, 0, _FOREVER_MS)
        complete = await archive.shots.count(ShotFilter(complete=True), 0, _FOREVER_MS)
        async with reconciling(archive, store, self._settings, self._facility) as reconciler:
            balance = await take_balance(archive, reconciler, 0, _FOREVER_MS)
        return Report(
            uploaded=self._uploaded,
            tally=balance.tally,
            problems=balance.problems,
            adds_up=balance.adds_up,
            under_way=balance.under_way,
            complete=complete,
            incomplete=everything - complete,
            unjudged=await archive.batches.unjudged(),
            kinds=by_kind(scenario.labels, reported_in(live, seen)),
            false_alarms=false_alarms(scenario.labels, live, seen),
            normal_shots=len(live) - len(anomalous),
            slow_changes=slow_changes(seen),
            latencies=latencies(seen, self._completed),
            throughput=throughput,
            model=model,
        )


async def _model(client: httpx.AsyncClient, port: int) -> str:
    """Return the model version with which a replica of inference scores."""
    return str((await client.get(f"http://127.0.0.1:{port}/ready")).json().get("model"))


@asynccontextmanager
async def running(listen: Listen, settings: BrokerSettings) -> AsyncIterator[None]:
    """Listen in the background. The context is entered when the subscription exists."""
    listening = asyncio.Event()
    task = asyncio.ensure_future(listen(settings, listening))
    waiting = asyncio.create_task(listening.wait())
    done, _ = await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def timeout(otherwise: str) -> AsyncIterator[None]:
    """Fail with this message if the body of the context takes minutes."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            yield
    except TimeoutError:
        advice = "the logs of the services are in the stack's folder, under logs/"
        raise Failure(f"{otherwise} within {_TIMEOUT_S:g} s", advice) from None


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
