"""A broker in memory, and a bus to it that settles messages as the real bus does."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ValidationError

from shotwatch_common.archive import TRANSIENT
from shotwatch_common.bus import OnDeadLetter, Subscription
from shotwatch_common.telemetry import attempting
from shotwatch_common.topology import PATH, RETRY_DELAYS_S
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.message import StageMessage

from .effects import Effects


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in a queue."""

    body: bytes
    attempt: int = 1
    reason: str = ""
    """Why it was dead-lettered."""
    express: bool = False
    """Whether it is in the express queue of its stage."""


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

    async def room(self, stage: str, express: bool = False) -> int:
        waiting = [message for message in self.broker.queues[stage] if message.express or not express]
        return self.longest_queue - len(waiting)

    async def under_way(self, *stages: str) -> bool:
        return any(self.broker.queues[stage] for stage in stages)

    async def send(self, stage: str, message: StageMessage | bytes, express: bool = False) -> None:
        body = message if isinstance(message, bytes) else message.model_dump_json(by_alias=True).encode()
        small = express if isinstance(message, bytes) else message.is_small
        sent = Waiting(body, express=small and stage in PATH)
        self._publish(f"publish {stage}", lambda: self.broker.queues[stage].append(sent))

    async def announce(self, event: AnomalyEvent) -> None:
        body = event.model_dump_json(by_alias=True).encode()
        self._publish("publish event", lambda: self.broker.events.append(body))

    async def deliver(self) -> bool:
        """Deliver one message to its handler and settle it; return False if no message waits.

        Messages in the express queue come first. A message that is not acknowledged is back at the head of
        its queue.
        """
        for stage, subscription in self._subscriptions.items():
            if waiting := self.broker.queues[stage]:
                message = next((each for each in waiting if each.express), waiting[0])
                waiting.remove(message)
                await self._deliver(subscription, message)
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
            handle_express = subscription.handle_express or subscription.handle
            handle = handle_express if message.express else subscription.handle
            await handle(_decoded(subscription, message.body))
        except (Retry, *TRANSIENT) as error:
            if message.attempt > len(RETRY_DELAYS_S):
                await self._dead_letter(stage, message, f"gave up after {message.attempt} attempts: {error}")
            else:
                attempt = message.attempt + await self.servers_answer()
                again = replace(message, attempt=attempt, express=False)
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
