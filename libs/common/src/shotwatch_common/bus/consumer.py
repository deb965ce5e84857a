"""Consuming: each message is passed to its stage's handler and then settled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aio_pika import IncomingMessage
from aio_pika.abc import HeadersType
from aio_pika.exceptions import ChannelInvalidStateError
from faststream import AckPolicy, BaseMiddleware, ContextRepo
from faststream.rabbit import Channel, RabbitMessage, RabbitPublishCommand, RabbitQueue, RabbitRouter
from opentelemetry.trace import TracerProvider
from pydantic import ValidationError

from shotwatch_common import metrics
from shotwatch_common.bus.back_pressure import BackPressure, HeldMessages
from shotwatch_common.bus.errors import Returned
from shotwatch_common.bus.faststream_gaps import without_invalid_trace_headers
from shotwatch_common.bus.headers import (
    ATTEMPT_HEADER,
    PUBLISHED_HEADER,
    REASON_HEADER,
    attempt_of,
    publication_time_of,
)
from shotwatch_common.bus.publisher import Publisher
from shotwatch_common.bus.routes import require_permitted_route
from shotwatch_common.bus.spans import spans_of_consuming
from shotwatch_common.telemetry import Log, attempting, fail_current_span
from shotwatch_common.topology import RETRY_DELAYS_S, Topology
from shotwatch_shots.errors import Reject
from shotwatch_shots.message import StageMessage, require_few_values
from shotwatch_shots.vocabulary import HeldFor, Settlement

OnDeadLetter = Callable[[str, bytes, str], Awaitable[None]]
"""Stage, body, reason."""
ServersAnswer = Callable[[], Awaitable[bool]]
"""Whether the servers that handlers need are answering."""
Action = Callable[[], Awaitable[object]]

_REPEAT_AFTER_S = 2.0
"""Pause in seconds, before a failed transfer to another queue is repeated, and between checks of a server."""
_LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class Subscription:
    """The handler for the messages of one stage, from its own queue and from its express queue.

    Each queue has its own consumer. So a small message is handled although large ones keep all their places.
    """

    stage: str
    contract: type[StageMessage] | None
    """The type that a message's body must conform to, and that the handler takes; None passes bytes."""
    handle: Callable[[Any], Awaitable[None]]
    prefetch: int
    """How many messages of each queue are handled concurrently."""
    handle_express: Callable[[Any], Awaitable[None]] | None = None
    """The handler for the messages of the express queue, if it is another one."""


@dataclass(frozen=True, slots=True)
class SettlementContext:
    """The dependencies for settling a message of any stage."""

    topology: Topology
    publisher: Publisher
    back_pressure: BackPressure
    held: HeldMessages
    on_dead_letter: OnDeadLetter
    servers_answer: ServersAnswer
    transient: tuple[type[Exception], ...]
    """The errors after which a message is retried."""
    tracer_provider: TracerProvider
    log: Log


def router_of(
    subscription: Subscription, queue: RabbitQueue, dependencies: SettlementContext
) -> RabbitRouter:
    """Return the FastStream router that consumes one queue of the stage.

    Its middlewares trace and settle each message; FastStream then acknowledges it.
    """
    topology, stage = dependencies.topology, subscription.stage
    express = queue != topology.queue_of(stage)
    handler = (subscription.handle_express if express else None) or subscription.handle

    def settling(message: IncomingMessage | None, /, *, context: ContextRepo) -> _Settling:
        return _Settling(message, context, stage, express, dependencies)

    router = RabbitRouter(
        middlewares=[
            spans_of_consuming(queue.name, dependencies.tracer_provider),
            settling,
        ]
    )

    @router.subscriber(
        queue,
        topology.work,
        channel=Channel(prefetch_count=subscription.prefetch, on_return_raises=True),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        no_reply=True,
        parser=without_invalid_trace_headers,
        decoder=partial(_decode, subscription),
    )
    async def handle(body: Any) -> None:
        await handler(body)

    return router


async def _decode(subscription: Subscription, message: RabbitMessage) -> StageMessage | bytes:
    """Decode the body as the contract's type; without a contract, return the bytes.

    Raises:
        Reject: the body does not conform to the contract, or has too many values.
    """
    require_few_values(message.body)
    contract = subscription.contract
    if contract is None:
        return bytes(message.body)
    try:
        decoded = contract.model_validate_json(message.body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(map(str, first["loc"]))
        raise Reject("wrong_message", f"not a {contract.__name__}: {location}: {first['msg']}") from error
    metrics.BATCH_RECORDS.labels(subscription.stage).observe(decoded.batch_size)
    return decoded


class _Settling(BaseMiddleware[RabbitPublishCommand]):
    """Settles one message: when `consume_scope` returns, the message is done or in another queue.

    FastStream acknowledges a message when its middlewares return, and requeues it when they raise
    (`AckPolicy.NACK_ON_ERROR`). Only `Returned` is raised here: nothing can be acknowledged or rejected on a
    closed channel, and the broker redelivers the message anyway. No other error may escape: the broker would
    redeliver the message immediately, without end, or in RabbitMQ 4 drop it after 20 deliveries.
    """

    def __init__(
        self,
        msg: IncomingMessage | None,
        context: ContextRepo,
        stage: str,
        express: bool,
        dependencies: SettlementContext,
    ) -> None:
        super().__init__(msg, context=context)
        self._stage = stage
        self._express = express
        self._with = dependencies

    async def consume_scope(self, call_next: Callable[[RabbitMessage], Awaitable[object]], msg: Any) -> None:
        """Handle a message and settle it.

        Raises:
            Returned: the message's channel was closed meanwhile.
        """
        with attempting(attempt_of(msg)):
            await self._with.back_pressure.pass_gate(self._stage, self._express)
            if (published_at := publication_time_of(msg)) is not None:
                metrics.message_waited(self._stage, published_at)
            with metrics.message_in_work(self._stage):
                outcome = await self._settle(msg, partial(call_next, msg))
        metrics.MESSAGES.labels(self._stage, outcome).inc()

    async def _settle(self, message: RabbitMessage, handle: Action) -> Settlement:
        try:
            return await self._handle(message, handle)
        except Returned:
            raise
        except Reject as error:
            self._report_failure(Settlement.REJECT, error)
            await self._dead_letter(message, str(error))
            return Settlement.REJECT
        except Exception as error:  # the edge of the process: a bug of ours or of a library
            self._report_failure(Settlement.BUG, error)
            self._with.log.exception("bug", stage=self._stage, attempt=attempt_of(message))
            await self._dead_letter(message, f"bug: {error!r}")
            return Settlement.BUG

    async def _handle(self, message: RabbitMessage, handle: Action) -> Settlement:
        """Handle a message until it is done or must wait in a waiting queue.

        An attempt that fails while a server is unavailable does not count: the message is held, and handled
        again once the server answers.
        """
        while True:
            try:
                require_permitted_route(self._with.topology, self._stage, message.raw_message)
                await handle()
                return Settlement.DONE
            except self._with.transient as error:
                self._report_failure(Settlement.RETRY, error)
                if await self._with.servers_answer():
                    return await self._retry(message, error)
                await self._hold(message, error)

    async def _hold(self, message: RabbitMessage, error: Exception) -> None:
        """Wait until the servers answer again.

        Raises:
            Returned: the channel was closed meanwhile.
        """
        self._with.log.warning("held: a server does not answer", stage=self._stage, why=str(error))
        with self._with.held.hold(self._stage, HeldFor.SERVER):
            while not await self._with.servers_answer():
                if _is_returned(message):
                    raise Returned from error
                await asyncio.sleep(_REPEAT_AFTER_S)

    async def _retry(self, message: RabbitMessage, error: Exception) -> Settlement:
        """Move a message to a waiting queue, or to the dead-letter queue after its last attempt."""
        attempt = attempt_of(message)
        if attempt > len(RETRY_DELAYS_S):
            await self._dead_letter(message, f"gave up after {attempt} attempts: {error}")
            return Settlement.GAVE_UP
        delay = RETRY_DELAYS_S[attempt - 1]
        self._with.log.warning("retry", stage=self._stage, attempt=attempt, delay_s=delay, why=str(error))
        headers: HeadersType = {ATTEMPT_HEADER: attempt + 1}
        if (published_at := publication_time_of(message)) is not None:
            headers[PUBLISHED_HEADER] = published_at
        queue = self._with.topology.waiting_queue_of(self._stage, delay)
        await self._until_done(message, lambda: self._with.publisher.put(queue, message.body, headers))
        return Settlement.RETRY

    async def _dead_letter(self, message: RabbitMessage, reason: str) -> None:
        """Move a message to the dead-letter queue, and report it."""
        # Neither the broker nor the database accepts surrogates. Both bound their documents: a reason that
        # they do not accept would be repeated without end. An error's text may contain what it failed on.
        reason = reason.encode(errors="backslashreplace").decode()[:_LONGEST_REASON]
        self._with.log.error("dead-lettered", stage=self._stage, reason=reason)
        headers: HeadersType = {ATTEMPT_HEADER: attempt_of(message), REASON_HEADER: reason}
        queue = self._with.topology.dead_letter_queue_of(self._stage)
        await self._until_done(message, lambda: self._with.publisher.put(queue, message.body, headers))
        await self._until_done(message, lambda: self._with.on_dead_letter(self._stage, message.body, reason))

    async def _until_done(self, message: RabbitMessage, act: Action) -> None:
        """Repeat an action until it succeeds.

        Raises:
            Returned: the channel was closed meanwhile, so the broker redelivers the message.
        """
        while True:
            try:
                await act()
                return
            except Exception as error:  # whatever the error, the message must not be lost
                if _is_returned(message):
                    raise Returned from error
                bug = not isinstance(error, self._with.transient)
                self._with.log.warning("cannot be set aside yet", why=repr(error), exc_info=bug)
            await asyncio.sleep(_REPEAT_AFTER_S)

    def _report_failure(self, class_: Settlement, error: Exception) -> None:
        metrics.attempt_failed(self._stage, class_, error)
        fail_current_span(error)


def _is_returned(message: RabbitMessage) -> bool:
    """Return whether the channel on which the message arrived is closed."""
    try:
        return message.raw_message.channel.is_closed
    except ChannelInvalidStateError:  # aio-pika raises this for a closed channel
        return True
