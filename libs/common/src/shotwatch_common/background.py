"""Background loops. A failure affects only the item or the loop in which it happens."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from shotwatch_common import metrics
from shotwatch_common.archive import TRANSIENT
from shotwatch_common.telemetry import Log
from shotwatch_shots.errors import Retry

FIRST_BACK_OFF_S = 2.0
LONGEST_BACK_OFF_S = 600.0
MOST_FAILED = 10_000
"""How many failed items are remembered; further ones are retried on every run."""


@dataclass(frozen=True, slots=True)
class _Failure:
    times: int
    retry_at: float
    """By the monotonic clock, in seconds."""


@dataclass(slots=True)
class Items:
    """Processes the items of a loop one by one, and delays the retry of an item that failed.

        windows = Items(context.servers_answer, context.log)
        await windows.each(overdue, self._close_window)

    A failed item is logged once, counted, and retried after 2 s, then after twice the delay each time, up to
    ten minutes. An unavailable server does not count as a failure of an item.
    """

    servers_answer: Callable[[], Awaitable[bool]]
    log: Log
    clock: Callable[[], float] = monotonic
    _failed: dict[str, _Failure] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many items are waiting for their next attempt."""
        return len(self._failed)

    async def each(self, items: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
        """Do the work on each item, except on items that are waiting for their next attempt.

        Raises:
            Retry, TRANSIENT: a server does not answer.
        """
        self._forget_gone()
        for item in items:
            if item not in self._failed or self._failed[item].retry_at <= self.clock():
                await self._attempt(item, work)
        metrics.BACKGROUND_WAITING.labels(name_of(work)).set(self.waiting)

    async def _attempt(self, item: str, work: Callable[[str], Awaitable[None]]) -> None:
        try:
            await work(item)
        except (Retry, *TRANSIENT) as error:
            if not await self.servers_answer():
                raise
            self._note(name_of(work), item, error)
        except Exception as error:  # noqa: BLE001 - the edge of the process: nobody else would handle it
            self._note(name_of(work), item, error)
        else:
            if self._failed.pop(item, None):
                self.log.info("background item succeeded", work=name_of(work), item=item)

    def _note(self, work: str, item: str, error: Exception) -> None:
        metrics.BACKGROUND_FAILURES.labels(work).inc()
        before = self._failed.get(item)
        if before is None and len(self._failed) >= MOST_FAILED:
            return
        times = 1 if before is None else before.times + 1
        self._failed[item] = _Failure(times, self.clock() + back_off_s(times))
        if before is None:
            self.log.error("background item failed", work=work, item=item, exc_info=error)

    def _forget_gone(self) -> None:
        """Forget items that have been due for ten minutes without being passed in: they no longer exist."""
        long_ago = self.clock() - LONGEST_BACK_OFF_S
        self._failed = {item: failed for item, failed in self._failed.items() if failed.retry_at > long_ago}


async def every(seconds: float, work: Callable[[], Awaitable[None]], log: Log) -> None:
    """Do the work periodically.

    A failure is logged and counted. It does not end the loop, but makes the pause longer. While a server does
    not answer, the work is repeated at its normal interval.
    """
    name, failures = name_of(work), 0
    while True:
        try:
            await work()
            failures = 0
        except (Retry, *TRANSIENT) as error:
            log.warning("background work waits", why=str(error))
        except Exception as error:  # the edge of the process: nobody else would handle it
            failures += 1
            metrics.BACKGROUND_FAILURES.labels(name).inc()
            if failures == 1:
                log.error("background work failed", work=name, exc_info=error)
        metrics.BACKGROUND_WAITING.labels(name).set(bool(failures))
        await asyncio.sleep(max(seconds, back_off_s(failures)) if failures else seconds)


def name_of(work: Callable[..., Awaitable[None]]) -> str:
    """Return the name of a function, method or partial for metrics, such as `Aggregator.close_overdue`."""
    function = work.func if isinstance(work, partial) else work
    return str(function.__qualname__).replace("<locals>.", "")


def back_off_s(failures: int) -> float:
    """Return the pause (s) after this many consecutive failures."""
    return float(min(FIRST_BACK_OFF_S * 2 ** min(failures - 1, 20), LONGEST_BACK_OFF_S))
