"""A broker in memory, and a bus to it that settles messages as the real bus does."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ValidationError

from shotwatch_common.archive import TRANSIENT
from shotwatch_common.bus import OnDeadLetter, Subscription
from shotwatch_common.telemetry import attempting
from shotwatch_common.topology import RETRY_DELAYS_S
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.event import AnomalyEvent

from .effects import Effects


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in a queue."""

    body: bytes
    attempt: int = 1
    reason: str = ""
    """Why it was dead-lettered."""


@dataclass
class Broker:
    """The queues of all stages, and the stream of events."""

    queues: defaultdict[str, deque[Waiting]] = field(default_factory=lambda: defaultdict(deque))
    dead: defaultdict[str, deque[Waiting]] = field(default_factory=lambda: defaultdict(deque))
    events: list[bytes] = field(default_factory=list)


@dataclass
class BusInMemory:
    """A service's connection to a broker in memory.

    A message that must be retried is back at the head of its queue at once. So no time passes, messages keep
    their order, and runs can be compared.
    """

    broker: Broker
    effects: Effects
    on_dead_letter: OnDeadLetter
    servers_answer: Callable[[], Awaitable[bool]]
    longest_queue: int = 500
    _subscriptions: dict[str, Subscription] = field(default_factory=dict)

    def subscribe(self, subscription: Subscription) -> None:
        self._subscriptions[subscription.stage] = subscription

    async def ready(self) -> bool:
        return True

    async def room(self, stage: str) -> int:
        return self.longest_queue - len(self.broker.queues[stage])

    async def under_way(self, *stages: str) -> bool:
        return any(self.broker.queues[stage] for stage in stages)

    async def send(self, stage: str, message: BaseModel | bytes) -> None:
        body = message if isinstance(message, bytes) else message.model_dump_json(by_alias=True).encode()
        self._publish(f"publish {stage}", lambda: self.broker.queues[stage].append(Waiting(body)))

    async def announce(self, event: AnomalyEvent) -> None:
        body = event.model_dump_json(by_alias=True).encode()
        self._publish("publish event", lambda: self.broker.events.append(body))

    async def deliver(self) -> bool:
        """Deliver one message to its handler and settle it; return False if no message waits.

        A message that is not acknowledged is back at the head of its queue.
        """
        for stage, subscription in self._subscriptions.items():
            if self.broker.queues[stage]:
                await self._deliver(subscription, self.broker.queues[stage].popleft())
                return True
        return False

    async def _deliver(self, subscription: Subscription, message: Waiting) -> None:
        stage, unacknowledged = subscription.stage, [message]
        try:
            with attempting(message.attempt):
                await self._settle(subscription, message)
            self.effects.perform(f"acknowledge {stage}", unacknowledged.clear, _ConnectionLost)
        except _ConnectionLost:
            return
        finally:
            self.broker.queues[stage].extendleft(unacknowledged)

    async def _settle(self, subscription: Subscription, message: Waiting) -> None:
        """Handle a message; if that fails, put it into its next queue, or let it be a dead letter."""
        stage = subscription.stage
        try:
            await subscription.handle(_decoded(subscription, message.body))
        except (Retry, *TRANSIENT) as error:
            if message.attempt > len(RETRY_DELAYS_S):
                await self._dead_letter(stage, message, f"gave up after {message.attempt} attempts: {error}")
            else:
                again = replace(message, attempt=message.attempt + await self.servers_answer())
                await self._put(f"retry {stage}", self.broker.queues[stage].appendleft, again)
        except Reject as error:
            await self._dead_letter(stage, message, str(error))
        except Exception as error:  # noqa: BLE001 - the edge of the process, as in the real bus
            await self._dead_letter(stage, message, f"bug: {error!r}")

    async def _dead_letter(self, stage: str, message: Waiting, reason: str) -> None:
        await self._put(
            f"dead-letter {stage}", self.broker.dead[stage].append, replace(message, reason=reason)
        )
        await _until_done(lambda: self.on_dead_letter(stage, message.body, reason))

    async def _put(self, name: str, into: Callable[[Waiting], None], message: Waiting) -> None:
        async def put() -> None:
            self._publish(name, lambda: into(message))

        await _until_done(put)

    def _publish(self, name: str, act: Callable[[], None]) -> None:
        self.effects.perform(name, act, lambda: Retry("the broker did not take the message"))


class _ConnectionLost(Exception):
    """The connection broke at an acknowledgement. The broker delivers the message again, unless it knows."""


async def _until_done(act: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(Retry, *TRANSIENT):
            return await act()


def _decoded(subscription: Subscription, body: bytes) -> BaseModel | bytes:
    if subscription.contract is None:
        return body
    try:
        return subscription.contract.model_validate_json(body)
    except ValidationError as error:
        raise Reject("wrong_message", f"not a {subscription.contract.__name__}: {error}") from error
