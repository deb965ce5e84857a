"""The test bed: a stack that can be broken, its inputs, and the account of what came of them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import aio_pika
import httpx
from pymongo import AsyncMongoClient

from shotwatch_cli.balance import BrokerQueues, take_balance
from shotwatch_cli.broker import connected, depth_of
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.failures import AWAY
from shotwatch_cli.training import train
from shotwatch_cli.uploads import planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.archive.shots import ANY_SHOT
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import STAGES
from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.processes import mark
from shotwatch_embedded.servers.broker import SCRIPT
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import State, Status
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_operations.reconciliation.reconciler import Reconciler
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.identity import object_id
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias, Phase
from tests.broker import TOPOLOGY, as_tester

from .inputs import Input
from .links import Link, through

FAULTS = "SHOTWATCH_FAULTS"
TIMEOUT_S = 240.0
FOREVER_MS = 2**53
LISTENER = "chaos.listener"
_LEARNED = "calibration_constants"
"""A collection, and the beginning of keys."""
_KEPT = {_LEARNED, "promotions", "challengers", "audit"}
"""Collections that outlive a run. Without its promotion, and the promotion's line in the audit, a champion is
not loaded by an inference that starts anew.
"""
_FAST_TRAINING = ("--epochs=1", "--budget-seconds=5")
LATENESS_S = {"1s": 300, "100ms": 20, "60s": 30}
"""An outage of 30 s makes no shot of the big input late; the small one waits as in the facility."""


def tap_of(key: str) -> str:
    """A queue that a fault injection may put in the place of the one with this routing key."""
    return f"chaos.{key}"


_WORKING = [
    name
    for stage in STAGES
    for name in (
        *(queue.name for queue in TOPOLOGY.queues_of(stage)),
        *(tap_of(queue.routing()) for queue in TOPOLOGY.consumed_queues_of(stage)),
    )
    if name != TOPOLOGY.dead_letter_queue_of(stage).name
]


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = TIMEOUT_S) -> None:
    """Wait until it holds; fail naming what did not happen."""
    deadline = monotonic() + seconds
    while not await holds():
        if monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: not {what}")
        await asyncio.sleep(0.5)


def service_environment(stack: Stack, links: Mapping[str, Link], service: str) -> dict[str, str]:
    """The environment of a service into which faults can be injected."""
    return {**through(links, stack.environment(service)), FAULTS: str(stack.folder / "faults")}


@dataclass(frozen=True)
class Account:
    """What came of an input: what is stored, and what a subscriber received."""

    states: Mapping[str, int]
    shots: Mapping[str, Mapping[str, Any]]
    """What was decided of each shot."""
    revisions: Mapping[str, int]
    begun: Mapping[str, tuple[str, str]]
    """Shot and kind of each incident's first event, by its id, unless it was withdrawn."""
    numbers: Sequence[int]
    """Of all stored events."""
    unpublished: int
    received: Mapping[str, set[int]]
    """The numbers under which a subscriber received each event."""


@dataclass
class FaultBed:
    """A stack with services whose fault points can be armed, and ways into it.

    The services come to their servers by the links, the tests directly.
    """

    stack: Stack
    links: Mapping[str, Link]
    settings: BrokerSettings
    store: ObjectStore
    archive: Archive
    inputs: Mapping[str, Input]
    chance: Random = field(default_factory=lambda: Random(5))
    _references: dict[str, Account] = field(default_factory=dict)

    @classmethod
    def over(
        cls,
        stack: Stack,
        links: Mapping[str, Link],
        store: ObjectStore,
        archive: Archive,
        inputs: Mapping[str, Input],
    ) -> "FaultBed":
        folder = stack.folder / "faults"
        folder.mkdir()
        reported = stack.environment()
        settings = settings_of(
            reported | {"SHOTWATCH_BROKER_URL": as_tester(reported["SHOTWATCH_BROKER_URL"])}
        )
        return cls(stack, links, settings, store, archive, inputs)

    @property
    def broker_url(self) -> str:
        return self.settings.broker_url.get_secret_value()

    # what is put in

    async def upload(self, paths: Iterable[Path]) -> None:
        await upload_all(self.store, self.settings.inbox_bucket, planned_uploads(paths), lambda _: None)

    async def put(self, key: str, content: bytes) -> str:
        """Put an object into the inbox; its id."""
        await self.store.put(self.settings.inbox_bucket, key, content)
        etag = await self.store.etag(self.settings.inbox_bucket, key) or ""
        return object_id(self.settings.inbox_bucket, key, etag)

    @asynccontextmanager
    async def history(self) -> AsyncIterator[Process]:
        """A history beside the supervised services: it polls every second."""
        often = {"SHOTWATCH_TREND_POLL_SECONDS": "1", "SHOTWATCH_REFERENCE_POLL_SECONDS": "1"}
        reported = {**service_environment(self.stack, self.links, "history"), **often}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shotwatch_history"),
            env={**os.environ, **reported, **mark(self.stack.folder)},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def learn(self, paths: Sequence[Path], cameras: int) -> None:
        """From quiet files: a reference of each camera, and a champion that has seen them."""
        await self._watch(paths)
        await self._refer(cameras)
        await self.clear()
        await self._watch(paths)
        environment = {**os.environ, **self.stack.environment()}
        trained = await asyncio.to_thread(
            train, environment, _FAST_TRAINING, ModelAlias.CHAMPION, lambda _: None
        )
        ports = [each.port for each in self.processes("inference")]

        async def taken_up() -> bool:
            async with httpx.AsyncClient() as client:
                reported = [(await client.get(f"http://{LOOPBACK}:{port}/ready")).json() for port in ports]
            return all(each["model"] == str(trained["version"]) for each in reported)

        await until(taken_up, "the champion taken up")

    async def _watch(self, paths: Sequence[Path]) -> None:
        await self.upload(paths)
        await self.at_rest(len(paths))

    async def _refer(self, cameras: int) -> None:
        """Have the references made, and features started anew, so that it knows them."""

        async def made() -> bool:
            return len(await self.archive.calibration_constants.latest()) >= cameras

        async with self.history():
            await until(made, f"{cameras} references")
        before = self.restarts()
        self.signal("features", signal.SIGTERM)

        async def started_anew() -> bool:
            return all(each.restarts > before[each.name] for each in self.processes("features"))

        await until(started_anew, "features started anew")
        await self.ready("features")

    # what is broken

    def arm(self, point: str) -> Path:
        armed = self.stack.folder / "faults" / point
        armed.touch()
        return armed

    def processes(self, name: str) -> list[Status]:
        """The replicas of a service, or a server."""
        return [
            each for each in self.stack.status() if each.name.rpartition("-")[0] == name or each.name == name
        ]

    def signal(self, name: str, number: signal.Signals) -> None:
        """To all processes of a server."""
        for each in self.processes(name):
            if each.pid is not None:
                os.killpg(each.pid, number)

    async def ready(self, name: str) -> None:
        async def all_ready() -> bool:
            return all(each.state is State.READY for each in self.processes(name))

        await until(all_ready, f"{name} ready")

    async def unready(self, name: str) -> None:
        """Wait until it is reported that the service does not serve."""

        async def reported() -> bool:
            return all(each.state is State.UNREADY for each in self.processes(name))

        await until(reported, f"{name} unready")

    def restarts(self) -> dict[str, int]:
        return {each.name: each.restarts for each in self.stack.status()}

    # what came of it

    async def ingested(self, count: int) -> None:
        """Wait until so many objects were read: work is under way."""

        async def enough() -> bool:
            return (await self.archive.ledger.tally(0, FOREVER_MS)).states["ingested"] >= count

        await until(enough, f"{count} objects ingested")

    def resident_mib(self) -> dict[str, int]:
        """Memory that each living process holds."""
        return {each.name: _resident_mib(each.pid) for each in self.stack.status() if each.pid is not None}

    async def only_waits(self, stage: str) -> None:
        """Wait until messages lie before this stage alone, if anywhere."""
        others = set(_WORKING) - {queue.name for queue in TOPOLOGY.consumed_queues_of(stage)}

        async def waits() -> bool:
            messages = await self.messages()
            return bool(messages) and not any(messages.get(name, 0) for name in others)

        await until(waits, f"messages before {stage} alone")

    async def at_rest(self, objects: int) -> None:
        """Wait until so many objects came in, nothing waits anywhere, no window is open, all is judged."""
        moving: list[str] = []

        async def rests() -> bool:
            moving[:] = await self._unsettled(objects) or await self._unread()
            return not moving

        try:
            await until(rests, "everything judged and the queues empty")
        except AssertionError as error:
            raise AssertionError(f"{error}: {'; '.join(moving)}") from error

    async def dead_lettered(self) -> int:
        async with await aio_pika.connect(self.broker_url) as connection:
            depths = [
                await depth_of(connection, TOPOLOGY.dead_letter_queue_of(stage).name) for stage in STAGES
            ]
        return sum(depth.messages for depth in depths if depth is not None)

    async def imbalances(self) -> list[str]:
        """What does not add up, by name, once all is at rest: nothing may be under way any more."""
        facility = load_facility(self.settings.facility)
        async with connected(self.broker_url) as connection:
            queues, nothing = BrokerQueues(connection, TOPOLOGY), Allowances(settling=0, sweeping=0)
            collector = Collector(self.archive, self.store, facility, self.settings, queues, nothing)
            reconciler = Reconciler(self.archive, collector)
            return (await take_balance(self.archive, reconciler, 0, FOREVER_MS)).problems

    async def account(self) -> Account:
        shots = await self.archive.shots.page(ANY_SHOT, 0, FOREVER_MS, 0)
        last = await self.archive.events.last_number()
        events = [stored.event for stored in await self.archive.events.numbered(0, last)]
        stored_events = await self.archive.events.stored_between(0, FOREVER_MS)
        return Account(
            states=(await self.archive.ledger.tally(0, FOREVER_MS)).states,
            shots={shot.id: _decided(shot) for shot in shots},
            revisions={shot.id: shot.revision for shot in shots},
            begun=_begun(events),
            numbers=[event.data.sequence for event in events],
            unpublished=sum(not stored.published_at for stored in stored_events),
            received=await self._received(),
        )

    async def reference(self, which: str) -> Account:
        """What an undisturbed run of an input gives."""
        if which not in self._references:
            await self.clear()
            await self.upload(self.inputs[which].files)
            await self.at_rest(len(self.inputs[which].files))
            self._references[which] = await self.account()
        return self._references[which]

    async def clear(self) -> None:
        """Forget everything that earlier runs left but what was learned: the same input is new again."""
        for armed in (self.stack.folder / "faults").iterdir():
            armed.unlink()
        async with AsyncMongoClient(self.settings.database_url.get_secret_value()) as client:
            database = client[self.settings.database_name]
            for name in set(await database.list_collection_names()) - _KEPT:
                await database[name].delete_many({})
        for bucket in ("inbox", "data", "errors", "blocks"):
            for key in [found.key async for found in self.store.list(bucket)]:
                if not key.startswith(_LEARNED):
                    await self.store.remove(bucket, key)
        async with await aio_pika.connect(self.broker_url) as connection:
            channel = await connection.channel()
            listener = await channel.declare_queue(LISTENER, durable=True)
            await listener.bind(TOPOLOGY.anomalies.name, "#")
            await listener.purge()
            for stage in STAGES:
                await (await channel.get_queue(TOPOLOGY.dead_letter_queue_of(stage).name)).purge()

    async def _unsettled(self, objects: int) -> list[str]:
        """What database and store list as not done yet; asked along the path, so that nothing slips by."""
        try:
            tally = await self.archive.ledger.tally(0, FOREVER_MS)
            left = [found.key async for found in self.store.list(self.settings.inbox_bucket)]
            unjoined = await self.archive.ledger.unjoined()
            unfinished = await self.archive.windows.unfinished()
            unjudged = await self.archive.batches.unjudged()
        except AWAY as error:
            return [f"database or store are away: {error}"]
        waiting = tally.states["waiting"]
        found = {
            f"{tally.objects} of {objects} objects came in": tally.objects < objects,
            f"{waiting} objects wait": waiting,
            f"in the inbox: {left}": left,
            f"{unjoined} objects are not joined": unjoined,
            "a window is open": unfinished,
            f"{unjudged} shots are not judged": unjudged,
        }
        return [what for what, so in found.items() if so]

    async def _unread(self) -> list[str]:
        """Queues with a message that waits or is in anybody's hands: only the broker itself counts these."""
        messages = await self.messages()
        if not messages:
            return ["the broker does not answer"]
        return [f"{messages[name]} messages of {name}" for name in _WORKING if messages.get(name, 0)]

    async def messages(self) -> dict[str, int]:
        """Of every queue; empty when the broker does not answer."""
        (broker,) = self.processes("broker")
        environment = await asyncio.to_thread(_environment, broker.pid)
        control = await asyncio.create_subprocess_exec(
            SCRIPT.with_name("rabbitmqctl"),
            *("--quiet", "list_queues", "name", "messages"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        listed, _ = await control.communicate()
        rows = (line.split("\t") for line in listed.decode().splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}

    async def _received(self) -> dict[str, set[int]]:
        received: dict[str, set[int]] = {}
        async with await aio_pika.connect(self.broker_url) as connection:
            queue = await (await connection.channel()).get_queue(LISTENER)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                event = AnomalyEvent.model_validate_json(message.body)
                received.setdefault(event.id, set()).add(event.data.sequence)
        return received


def _environment(pid: int | None) -> dict[str, str]:
    """The environment of a process; that of none is empty."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    except OSError:
        return {}
    return dict(variable.split("=", 1) for variable in variables if "=" in variable)


def _resident_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _decided(shot: JudgedShot) -> dict[str, Any]:
    verdict = shot.verdict
    return {
        **{name: getattr(verdict, name) for name in ("kinds", "severity", "score")},
        **{name: getattr(shot, name) for name in ("complete", "missing", "refused", "pulse")},
    }


def _begun(events: Sequence[AnomalyEvent]) -> dict[str, tuple[str, str]]:
    withdrawn = {identity for event in events for identity in event.data.supersedes}
    return {
        event.id: (event.data.shot, event.data.kind)
        for event in events
        if event.data.phase in (Phase.OPENED, Phase.PASSED)
        and event.data.kind is not AnomalyKind.SUPERSEDED
        and event.id not in withdrawn
    }


def twice(account: Account) -> int:
    """Numbers that two events have, and events that were published under two numbers."""
    shared = sum(count - 1 for count in Counter(account.numbers).values())
    return shared + sum(len(numbers) - 1 for numbers in account.received.values())
