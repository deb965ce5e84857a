"""New events, read once for all listeners.

One poller queries the database for new numbers and puts what it finds into the bounded queue of each
listener. A listener whose queue is full is dropped; it reconnects with the last number that it received.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Self

import structlog

from shotwatch_common import metrics
from shotwatch_common.archive.events import Events, NumberedEvent
from shotwatch_query.errors import Forbidden, NotAdmitted, TooMany, Unavailable
from shotwatch_query.problems import AWAY
from shotwatch_query.settled_events import SLICE, settled_end, settled_since

POLL_S = 0.25
MOST_LISTENERS = 100
AGAIN_S = 5.0
"""Time in seconds after which a refused listener may try again, because other streams end meanwhile."""
MOST_WAITING = 1000
"""Maximum number of events in a listener's queue."""
LONGEST_S = 900.0
"""Maximum duration of a stream in seconds; then the client reconnects, possibly to another replica."""
CHECK_S = 30.0
"""Period in seconds in which each listener's key or token is checked again."""

FAULT = "a fault of this service; its log has the details"


@dataclass(frozen=True, slots=True)
class Outage:
    """The database became unavailable, or available again: then `wrong` is None."""

    wrong: str | None


@dataclass(frozen=True, slots=True)
class Reset:
    """The subscriber's number lies beyond the end: the database was emptied, or an older copy restored."""

    last: int
    """The present end: events after this number follow."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The subscriber's key or token is no longer valid, or lacks the scope now: the stream ends."""

    why: str


News = NumberedEvent | Outage | Reset | Revoked
"""A stored event, or a change of the database or of the subscriber's key."""
Check = Callable[[], Awaitable[object]]
"""A check that raises NotAdmitted or Forbidden if the listener must stop, Unavailable if this is unknown."""


@dataclass(eq=False, slots=True)
class Listener:
    """A subscriber with the queue of news to send; None in the queue ends the stream."""

    caller: str
    start: int
    """All events after this number come through the queue."""
    check: Check
    ended: bool = False
    ends_at: float = field(default_factory=lambda: monotonic() + LONGEST_S)
    queue: asyncio.Queue[News | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))

    def publish(self, news: News) -> None:
        if self.queue.full():
            self.end()
        else:
            self.queue.put_nowait(news)

    def end(self, last: Revoked | None = None) -> None:
        """Discard what is queued, because the subscriber requests it again; `last` is still sent."""
        while not self.queue.empty():
            self.queue.get_nowait()
        if last is not None:
            self.queue.put_nowait(last)
        self.queue.put_nowait(None)
        self.ended = True


class Live:
    """The poller and its listeners."""

    def __init__(self, events: Events, per_caller: int) -> None:
        self._events = events
        self._per_caller = per_caller
        self._last_published: int | None = None
        self._wrong: str | None = None
        self._last_fault = ""
        self._listeners: set[Listener] = set()

    @classmethod
    @asynccontextmanager
    async def of(cls, events: Events, per_caller: int = MOST_LISTENERS) -> AsyncIterator[Self]:
        """Poll and check keys until exit. A fault in one of these tasks is logged, and the task goes on.

        Args:
            events: the stored events.
            per_caller: maximum number of listeners of one caller.
        """
        live = cls(events, per_caller)
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(live._poll()), tasks.create_task(live._check_all_the_time())]
            yield live
            for task in working:
                task.cancel()

    @contextmanager
    def listener(self, caller: str, check: Check) -> Iterator[Listener]:
        """Register a listener, and remove it on exit.

        Args:
            caller: name of the caller.
            check: called every CHECK_S seconds to decide whether the caller may continue.

        Raises:
            TooMany: the caller has too many listeners already.
            Unavailable: there are too many listeners, or the database has not answered yet.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise Unavailable(f"{MOST_LISTENERS} event streams are open already")
        if Counter(each.caller for each in self._listeners)[caller] >= self._per_caller:
            raise TooMany(
                f"{caller} holds {self._per_caller} streams already, as many as a caller may "
                "(SHOTWATCH_QUERY_STREAMS_PER_CALLER): close one, or use a key of your own",
                AGAIN_S,
            )
        if self._last_published is None:
            raise Unavailable("the database has not answered yet")
        listener = Listener(caller, self._last_published, check)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def follow(self, listener: Listener, since: int | None) -> AsyncIterator[News]:
        """Yield what was missed since a number, if one is given, then what is new; each event once, in order.

        A number beyond the end is answered with a Reset. The stream ends if the database is unavailable
        during this check; the subscriber then reconnects with the same number.
        """
        since = listener.start if since is None else since
        if self._wrong is not None:
            yield Outage(self._wrong)
        try:
            beyond_the_end = since > listener.start and since > await self._events.last_number()
        except AWAY as error:
            yield Outage(str(error))
            return
        if beyond_the_end:
            since = listener.start
            yield Reset(since)
        async for news in self._missed(since, listener):
            yield news
        while (following := await listener.queue.get()) is not None:
            if isinstance(following, Reset):
                since = following.last
            if isinstance(following, Outage | Reset | Revoked) or following.sequence > since:
                yield following

    def close(self) -> None:
        """End all streams."""
        for listener in tuple(self._listeners):
            self._drop(listener)

    async def _missed(self, since: int, listener: Listener) -> AsyncIterator[News]:
        """Yield stored events after `since` up to the listener's start.

        All of these are settled: a number that is missing here will never appear.
        """
        away = False
        while since < listener.start and not listener.ended:
            upto = min(since + SLICE, listener.start)
            try:
                missed = await self._events.numbered(since, upto)
            except AWAY as error:
                away = True
                yield Outage(str(error))
                await asyncio.sleep(POLL_S)
                continue
            for stored in missed:
                yield stored
            since = upto
        if away:
            yield Outage(None)

    async def _poll(self) -> None:
        while True:
            try:
                await self._publish_new()
                self._publish_outage(None)
            except AWAY as error:
                self._publish_outage(str(error))
            except Exception as error:  # noqa: BLE001 - the edge of the process: other requests go on
                self._note("events not polled", error)
                self._publish_outage(FAULT)
            for listener in [each for each in self._listeners if each.ended or each.ends_at < monotonic()]:
                self._drop(listener)
            await asyncio.sleep(POLL_S)

    async def _check_all_the_time(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            for listener in tuple(self._listeners):
                try:
                    await listener.check()
                except Unavailable:  # unknown whether the key is still valid: the stream continues
                    continue
                except (NotAdmitted, Forbidden) as error:
                    self._drop(listener, Revoked(str(error)))
                except Exception as error:  # noqa: BLE001 - the edge of the process: the other listeners are checked
                    self._note("key not checked", error)

    async def _publish_new(self) -> None:
        # At the start, or after the database was emptied or restored: begin at its present end.
        last = await self._events.last_number()
        if self._last_published is None or self._last_published > last:
            self._last_published = await settled_end(self._events)
            self._publish(Reset(self._last_published))
            return
        if self._last_published == last:
            return
        new = [stored async for stored in settled_since(self._events, self._last_published)]
        for stored in new:
            self._publish(stored)
            self._last_published = stored.sequence

    def _publish_outage(self, wrong: str | None) -> None:
        if (wrong is None) != (self._wrong is None):
            self._publish(Outage(wrong))
        self._wrong = wrong

    def _note(self, what: str, error: Exception) -> None:
        """Count a fault; log it unless it is the same as the last one."""
        metrics.BACKGROUND_FAILURES.labels("Live").inc()
        if repr(error) != self._last_fault:
            self._last_fault = repr(error)
            structlog.get_logger().error(what, exc_info=error)

    def _publish(self, news: News) -> None:
        for listener in self._listeners:
            listener.publish(news)

    def _drop(self, listener: Listener, last: Revoked | None = None) -> None:
        listener.end(last)
        self._listeners.discard(listener)
