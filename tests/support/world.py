"""The servers of a system in memory, and its services, run one at a time until nothing is left to do."""

import json
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog
from opentelemetry.trace import NoOpTracerProvider
from structlog.testing import ReturnLogger

from shotwatch_common import background, clock
from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.process import AnySettings, Assemble, Background, Service, ServiceContext
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY

from .bus import Broker, BusInMemory
from .database import DatabaseClient
from .effects import Died, Effects, Fault
from .objects import StoreClient
from .registry import Registered

ROUNDS = 2
"""Rounds of the background work of a service. What a fault breaks in one round succeeds in the next."""
ROUND_S = 20.0
"""Time before each round, in seconds. It is longer than a service waits for another replica."""
OF_AN_ATTEMPT = {
    *("at", "attempt", "closed_at", "deadline", "joined_at", "judged_at", "outbox_since", "published_at"),
    *("seen_at", "since", "stored_at", "version"),
    *("detailed_at", "due_at", "first_at", "last_at", "leased_until", "made_at", "noted_until"),
}
"""Fields whose numbers count attempts, or are the time of an attempt."""
UPPER_BOUNDS = "at_most"
"""Numbers that a repeated write may increase: of them, only whether they are set."""
_NOW_S = 1_760_000_000.0
"""2025-10-09."""
_DATABASE = "shotwatch"
SERVERS = {
    "database_url": "mongodb://memory",
    "store_url": "http://memory",
    "store_access_key": "access",
    "store_secret_key": "secret",
    "broker_url": "amqp://memory",
    "models_url": "http://memory",
    "facility": str(FACILITY),
}
"""The settings of every process; its connections lead to the servers in memory."""
LASER = load_facility(FACILITY)


class _RoundOver(BaseException):
    """A background loop has done its work once and would sleep now."""


async def _end_round(_seconds: float) -> None:
    raise _RoundOver


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the servers hold in the end."""

    documents: Mapping[str, Mapping[Any, Any]]
    """Collection → id → document. Of the fields OF_AN_ATTEMPT, only whether they are set."""
    objects: Mapping[str, Mapping[str, bytes]]
    """Bucket → key → content."""
    messages: Mapping[str, Collection[bytes]]
    """Stage → the different messages that wait for it. A message may be published twice."""
    dead: Mapping[str, Collection[bytes]]
    """Stage → its different dead letters."""
    events: Collection[str]
    """The different events in the stream, without the times at which they were made."""


@dataclass
class World:
    """Servers in memory. They outlive the processes that use them."""

    effects: Effects = field(default_factory=Effects)
    database: DatabaseClient = field(init=False)
    store: StoreClient = field(init=False)
    broker: Broker = field(default_factory=Broker)
    models: Registered = field(init=False)
    now_s: float = _NOW_S

    def __post_init__(self) -> None:
        self.database = DatabaseClient(self.effects)
        buckets: dict[str, Any] = {name: {} for name in ("inbox", "data", "blocks", "errors", "tables")}
        self.store = StoreClient(self.effects, buckets)
        self.models = Registered(self.effects)

    def fork(self, fault: Fault | None = None, at: int = 0) -> "World":
        """Return servers with the same content, for processes to which a fault happens at an effect."""
        other = World(Effects(fault=fault, at=at), broker=deepcopy(self.broker), now_s=self.now_s)
        for name, collection in self.database[_DATABASE].items():
            other.database[_DATABASE][name].documents = deepcopy(collection.documents)
        other.store.buckets = {name: dict(objects) for name, objects in self.store.buckets.items()}
        other.models = self.models.fork(other.effects)
        return other

    @property
    def archive(self) -> Archive:
        return Archive(self.database, _DATABASE)

    @property
    def objects(self) -> ObjectStore:
        client: Any = self.store
        return ObjectStore(client)

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """Return the documents of a collection."""
        return list(self.database[_DATABASE][collection].documents.values())

    def keep_only(self, stage: str, text: bytes) -> None:
        """Remove the messages of a stage's queue that do not contain a text."""
        queue = self.broker.queues[stage]
        self.broker.queues[stage] = deque(message for message in queue if text in message.body)

    def keep_in_inbox(self, text: str) -> None:
        """Remove the objects of the inbox whose keys do not contain a text."""
        inbox = self.store.buckets["inbox"]
        self.store.buckets["inbox"] = {key: stored for key, stored in inbox.items() if text in key}

    async def upload(self, key: str, data: bytes) -> None:
        """Store an object in the inbox."""
        with self.in_its_time():
            await self.objects.put("inbox", key, data)

    async def run(self, assemble: Assemble, settings: type[AnySettings], **given: Any) -> None:
        """Run a service until no message waits and its background work was done; restart it when it dies."""
        while True:
            self.effects.dead = False
            with suppress(Died), self.reached():
                async with AsyncExitStack() as resources:
                    return await self._live(assemble, settings, resources, given)

    async def _live(
        self,
        assemble: Assemble,
        settings: type[AnySettings],
        resources: AsyncExitStack,
        given: Mapping[str, Any],
    ) -> None:
        archive = self.archive
        bus = BusInMemory(self.broker, self.effects, archive.dead_letter, _yes)
        loaded = settings.model_validate({**SERVERS, **given})
        tracer, log = NoOpTracerProvider().get_tracer("tests"), structlog.wrap_logger(ReturnLogger())
        service = await assemble(
            ServiceContext(loaded, LASER, bus, self.objects, archive, tracer, log), resources
        )
        for check in service.startup_checks:
            await _passed(check)
        for subscription in service.subscriptions:
            bus.subscribe(subscription)
        await self._work(service, bus)

    async def _work(self, service: Service, bus: BusInMemory) -> None:
        while await bus.deliver():
            pass
        for _ in range(ROUNDS):
            self.now_s += ROUND_S
            for loop in service.background:
                with suppress(_RoundOver):
                    await loop()
            while await bus.deliver():
                pass

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Let a process that opens its connections itself reach these servers."""
        with (
            patch.object(Archive, "of", lambda _: self.archive),
            patch.object(ObjectStore, "of", lambda _: self.objects),
            patch.object(ModelRegistry, "of", self.models.of),
            self.in_its_time(),
        ):
            yield

    @contextmanager
    def in_its_time(self) -> Iterator[None]:
        """Let only this world's clock count, and background loops end when they would sleep."""
        with (
            patch.object(clock, "time", lambda: self.now_s),
            patch.object(background, "asyncio", SimpleNamespace(sleep=_end_round)),
            patch.object(background, "FIRST_BACK_OFF_S", 0),
        ):
            yield

    def outcome(self) -> Outcome:
        """Return what the servers hold."""
        collections = self.database[_DATABASE].items()
        return Outcome(
            {name: _comparable(each.documents) for name, each in collections if each.documents},
            {
                bucket: {key: stored.data for key, stored in objects.items()}
                for bucket, objects in self.store.buckets.items()
            },
            {stage: {each.body for each in queue} for stage, queue in self.broker.queues.items() if queue},
            {stage: {each.body for each in queue} for stage, queue in self.broker.dead.items() if queue},
            {_undated(body) for body in self.broker.events},
        )


def _undated(body: bytes) -> str:
    """Return an event without the time at which it was made."""
    event = json.loads(body)
    del event["time"]
    return json.dumps(event)


async def _yes() -> bool:
    return True


async def _passed(check: Background) -> None:
    """Do a startup check. The one fault of a run makes it fail once at most."""
    try:
        await check()
    except (Retry, *TRANSIENT):
        await check()


def _comparable(value: Any) -> Any:
    """Return a document with what any two runs agree on.

    A repeated step of a history counts once. A time that is text is the time at which an event was made.
    """
    match value:
        case dict():
            return {
                name: bool(each)
                if name in OF_AN_ATTEMPT and isinstance(each, int)
                else _comparable(each)
                if name != UPPER_BOUNDS
                else {series: sorted(counts) for series, counts in each.items()}
                for name, each in value.items()
                if not (name == "time" and isinstance(each, str))
            }
        case list():
            return [each for each, _ in groupby(map(_comparable, value))]
        case _:
            return value
