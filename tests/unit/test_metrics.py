"""What the bus counts of each message, and that metrics are declared and documented as they should be."""

import importlib.util
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from faststream.rabbit import RabbitBroker, TestRabbitBroker
from faststream.rabbit.annotations import RabbitMessage
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY

from shotwatch_common import metrics
from shotwatch_common.bus import ATTEMPT_HEADER, PUBLISHED_HEADER, Bus, Subscription
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import configure_logs
from shotwatch_common.topology import RETRY_DELAYS_S
from shotwatch_shots.batch import ShotsFlagged
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.place import ShotSeries
from tests.broker import TOPOLOGY
from tests.support.world import LASER

REPOSITORY = Path(__file__).resolve().parents[2]
STAGE = "detail"
FLAGGED = ShotsFlagged(batch_id="batch", shots=[3, 4, 5])
PLACE = ShotSeries.parse("LA-A2-00-1s")
METER = "LA_A2-EM_1-EnergyMeter-1"
_spec = importlib.util.spec_from_file_location("metrics_page", REPOSITORY / "scripts" / "metrics.py")
assert _spec is not None
assert _spec.loader is not None
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def outcomes() -> dict[str, float]:
    """How often what became of a message of the stage."""
    words = ("done", "retry", "reject", "bug", "gave_up")
    return {word: value("shotwatch_messages_total", stage=STAGE, outcome=word) for word in words}


class Stage:
    """A stage that fails as configured, on FastStream's broker in memory."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.in_flight = 0.0
        self.put_aside: list[RabbitMessage] = []

    async def handle(self, _message: ShotsFlagged) -> None:
        self.in_flight = value("shotwatch_messages_in_flight", stage=STAGE)
        if self.failure:
            raise self.failure

    async def divert(self, message: RabbitMessage) -> None:
        self.put_aside.append(message)


@pytest_asyncio.fixture
async def stage() -> Stage:
    return Stage()


@pytest_asyncio.fixture
async def broker(stage: Stage) -> AsyncIterator[RabbitBroker]:
    async def on_dead_lettered(_stage: str, _body: bytes, _reason: str) -> None:
        return None

    async def all_answer() -> bool:
        return True

    bus = Bus(
        "amqp://nowhere", TOPOLOGY, TracerProvider(), configure_logs("test"), on_dead_lettered, all_answer
    )
    bus.subscribe(Subscription(STAGE, ShotsFlagged, stage.handle, 1))
    for queue in (TOPOLOGY.dead_letter_queue_of(STAGE), TOPOLOGY.waiting_queue_of(STAGE, RETRY_DELAYS_S[0])):
        bus._broker.subscriber(queue, TOPOLOGY.work)(stage.divert)
    async with TestRabbitBroker(bus._broker) as in_memory:
        yield in_memory


async def publish(broker: RabbitBroker, body: str = FLAGGED.model_dump_json(), **headers: object) -> None:
    await broker.publish(body.encode(), exchange=TOPOLOGY.work, routing_key=STAGE, headers=headers)


@pytest.mark.parametrize(
    ("failure", "attempt", "outcome", "class_", "reason"),
    [
        (Retry("later"), 1, "retry", "retry", "Retry"),
        (Retry("later"), -100, "retry", "retry", "Retry"),
        (Retry("later"), len(RETRY_DELAYS_S) + 1, "gave_up", "retry", "Retry"),
        (Reject("unknown_batch", "batch 7"), 1, "reject", "reject", "unknown_batch"),
        (KeyError("ours"), 1, "bug", "bug", "KeyError"),
    ],
)
async def test_a_message_that_fails_is_counted_by_what_became_of_it_and_why(
    stage: Stage,
    broker: RabbitBroker,
    failure: Exception,
    attempt: int,
    outcome: str,
    class_: str,
    reason: str,
) -> None:
    stage.failure, labels = failure, {"stage": STAGE, "class": class_, "reason": reason}
    before, failed = outcomes(), value("shotwatch_failures_total", **labels)
    await publish(broker, **{ATTEMPT_HEADER: attempt})
    assert outcomes() == {**before, outcome: before[outcome] + 1}
    assert value("shotwatch_failures_total", **labels) == failed + 1


async def test_a_message_that_is_done_shows_its_size_its_work_and_its_wait_since_it_was_first_published(
    stage: Stage, broker: RabbitBroker
) -> None:
    names = ("batch_records_sum", "message_work_seconds_count", "message_wait_seconds_sum")
    done, before = outcomes()["done"], {name: value(f"shotwatch_{name}", stage=STAGE) for name in names}
    await publish(broker, **{PUBLISHED_HEADER: epoch_now() - 60_000})
    more = {name: value(f"shotwatch_{name}", stage=STAGE) - before[name] for name in names}
    assert (outcomes()["done"], stage.in_flight) == (done + 1, 1)
    assert value("shotwatch_messages_in_flight", stage=STAGE) == 0
    assert more["batch_records_sum"] == 3
    assert more["message_work_seconds_count"] == 1
    assert more["message_wait_seconds_sum"] >= 60


async def test_a_message_that_is_retried_keeps_the_time_of_its_first_publication(
    stage: Stage, broker: RabbitBroker
) -> None:
    stage.failure = Retry("later")
    await publish(broker, **{PUBLISHED_HEADER: 1_656_662_400_000})
    [waiting] = stage.put_aside
    assert (waiting.headers[PUBLISHED_HEADER], waiting.headers[ATTEMPT_HEADER]) == (1_656_662_400_000, 2)


async def test_a_message_without_the_time_of_its_publication_has_no_wait(broker: RabbitBroker) -> None:
    before = value("shotwatch_message_wait_seconds_count", stage=STAGE)
    await publish(broker)
    assert value("shotwatch_message_wait_seconds_count", stage=STAGE) == before


def test_the_newest_measured_value_is_shown_and_what_was_not_measured_hides_nothing() -> None:
    device = {"place": "LA-A2-00", "device": METER}
    metrics.shots_measured(PLACE, {METER: {"energy": np.array([1.0, 2.5, np.nan])}}, LASER)
    metrics.shots_measured(PLACE, {METER: {"energy": np.array([np.nan])}}, LASER)
    assert value("shotwatch_energy_joules", **device) == 2.5


def test_a_device_that_the_facility_file_does_not_list_has_no_metric() -> None:
    metrics.shots_measured(PLACE, {"LA_A2-made_up-EnergyMeter": {"energy": np.array([1.0])}}, LASER)
    labels = [sample.labels for metric in REGISTRY.collect() for sample in metric.samples]
    assert not [each for each in labels if each.get("device") == "LA_A2-made_up-EnergyMeter"]


def test_the_page_in_the_repository_is_that_of_the_code() -> None:
    assert written.FILE.read_text(encoding="utf-8") == written.page(), "run `make metrics`"


@pytest.mark.parametrize("metric", list(written.declared()), ids=lambda metric: metric.describe()[0].name)
def test_names_follow_the_conventions_and_labels_are_bounded(metric: object) -> None:
    [described] = metric.describe()  # type: ignore[attr-defined]
    assert re.fullmatch(r"shotwatch(_[a-z]+)+", described.name)
    assert described.name.endswith(described.unit)
    assert described.documentation.endswith(".")
    unbounded = {"id", "object", "key", "path", "trace_id", "shot", "batch"}
    assert unbounded.isdisjoint(metric._labelnames)  # type: ignore[attr-defined]
