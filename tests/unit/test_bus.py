"""The parts of the bus that need no broker; settlement is tested on a real one in tests/integration."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from faststream import StreamMessage
from faststream.rabbit import RabbitBroker, TestRabbitBroker
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shotwatch_common.bus import Bus, Subscription
from shotwatch_common.bus.faststream_gaps import without_invalid_trace_headers
from shotwatch_common.telemetry import configure_logs
from tests.broker import TOPOLOGY

STAGE = "shadow"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
"""What a header of AMQP may hold."""


@given(
    st.fixed_dictionaries(
        {"traceparent": st.just(TRACEPARENT) | VALUES, "tracestate": VALUES, "baggage": VALUES}
    )
)
async def test_no_trace_header_makes_telemetry_fail(headers: dict[str, Any]) -> None:
    async def parse(raw: Any) -> StreamMessage[Any]:
        return StreamMessage(raw, b"", headers=headers)

    message: Any = object()
    parsed = await without_invalid_trace_headers(message, parse)
    TraceContextTextMapPropagator().extract(parsed.headers)
    W3CBaggagePropagator().extract(parsed.headers)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest_asyncio.fixture
async def handled() -> list[bytes]:
    return []


@pytest_asyncio.fixture
async def broker(spans: InMemorySpanExporter, handled: list[bytes]) -> AsyncIterator[RabbitBroker]:
    async def on_dead_letter(_stage: str, _body: bytes, _reason: str) -> None:
        raise AssertionError("nothing is dead-lettered here")

    async def all_answer() -> bool:
        return True

    async def handle(body: bytes) -> None:
        handled.append(body)

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    bus = Bus("amqp://nowhere", TOPOLOGY, provider, configure_logs("test"), on_dead_letter, all_answer)
    bus.subscribe(Subscription(STAGE, None, handle, 1))
    async with TestRabbitBroker(bus._broker) as in_memory:
        yield in_memory


async def test_spans_are_named_after_the_exchange_or_the_queue_and_never_after_the_routing_key(
    broker: RabbitBroker, spans: InMemorySpanExporter
) -> None:
    key = TOPOLOGY.queue_of(STAGE).routing()
    await broker.publish(b"", exchange=TOPOLOGY.work, routing_key=key)
    finished = {span.name: span for span in spans.get_finished_spans()}
    assert finished.keys() == {"shotwatch.work create", "shotwatch.work publish", "shotwatch.shadow process"}
    keys = {
        (span.attributes or {})["messaging.rabbitmq.destination.routing_key"] for span in finished.values()
    }
    assert keys == {key}
    published, processed = finished["shotwatch.work publish"], finished["shotwatch.shadow process"]
    assert published.context.trace_id == processed.context.trace_id


@pytest.mark.parametrize("header", ["baggage", "tracestate"])
async def test_a_message_with_a_trace_header_that_is_not_text_is_handled(
    broker: RabbitBroker, handled: list[bytes], header: str
) -> None:
    await broker.publish(b"body", exchange=TOPOLOGY.work, routing_key=STAGE, headers={header: 5})
    assert handled == [b"body"]
