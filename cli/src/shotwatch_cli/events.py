"""Anomaly events as people read them, and as a stream without gaps or duplicates."""

import asyncio
from collections.abc import AsyncIterator, Callable

from rich.text import Text

from shotwatch_cli.failures import Failure
from shotwatch_cli.output import moment, styled
from shotwatch_common.printable import printable
from shotwatch_shots.event import Anomaly, AnomalyEvent
from shotwatch_shots.vocabulary import Phase, Severity

Missed = Callable[[], AsyncIterator[AnomalyEvent]]
"""Requests the stored events that it has not yielded yet."""

SETTLED_AFTER_S = 11.0
"""The REST API holds an event back for ten seconds at most."""
AGAIN_S = 2.0
"""Pause before another attempt to reach a server that went away."""
SEVERITY_STYLES = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}


class Recent:
    """A memory of the most recent ids."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._ids: dict[str, None] = {}

    def is_new(self, identity: str) -> bool:
        """Return whether this id is new, and store it."""
        if identity in self._ids:
            return False
        self._ids[identity] = None
        if len(self._ids) > self._capacity:
            del self._ids[next(iter(self._ids))]
        return True


async def without_double(events: AsyncIterator[AnomalyEvent]) -> AsyncIterator[AnomalyEvent]:
    """Yield each event once: it may come both live and stored, and the broker may deliver it twice."""
    recent = Recent()
    async for event in events:
        if recent.is_new(event.id):
            yield event


def without_gap(
    missed: Missed,
    live: AsyncIterator[AnomalyEvent],
    binding_key: str,
    settled_after_s: float = SETTLED_AFTER_S,
    again_s: float = AGAIN_S,
) -> AsyncIterator[AnomalyEvent]:
    """Yield live events without delay and, in parallel, missed events as soon as the REST API delivers them.

    The subscription to `live` must exist before the call: events are stored before they are published, so
    each one is live or stored, or both. The REST API holds back an event if events with lower numbers may
    still come. So it is asked once more when everything that was stored at the time of the subscription has
    settled.
    """

    async def retrying() -> AsyncIterator[AnomalyEvent]:
        for pause in (0, settled_after_s):
            await asyncio.sleep(pause)
            while True:
                try:
                    async for event in missed():
                        yield event
                    break
                except Failure:
                    await asyncio.sleep(again_s)

    return _merged(live, matching(retrying(), binding_key))


async def matching(events: AsyncIterator[AnomalyEvent], binding_key: str) -> AsyncIterator[AnomalyEvent]:
    """Yield the events that the broker would deliver to a subscriber with this key."""
    async for event in events:
        if matches(binding_key, event.routing_key):
            yield event


def matches(binding_key: str, routing_key: str) -> bool:
    """Return whether a topic exchange routes the key to the binding: `*` is one word, `#` any number."""
    return _match(binding_key.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    match pattern:
        case ["#", *rest]:
            return any(_match(rest, words[taken:]) for taken in range(len(words) + 1))
        case [word, *rest]:
            return bool(words) and word in ("*", words[0]) and _match(rest, words[1:])
        case _:
            return not words


def event_line(event: AnomalyEvent) -> Text:
    """Format an event as `#12  2022-07-01 07:33:00.100  LA-A1-11  critical  hot_spot  8.1 > 4.0  reason`."""
    anomaly = event.data
    style = SEVERITY_STYLES[anomaly.severity]
    return styled(
        (f"#{anomaly.sequence:<6} {moment(anomaly.time)}", "dim"),
        f"  {place_of(anomaly):<11}",
        (f"{anomaly.severity:<8}  {anomaly.kind:<19}", style),
        f"{_score(anomaly):>16}  ",
        printable(anomaly.why),
    )


def event_record(event: AnomalyEvent) -> dict[str, object]:
    """Return the event as it was published."""
    return event.model_dump(mode="json", by_alias=True)


def place_of(anomaly: Anomaly) -> str:
    return str(anomaly.place)


def _score(anomaly: Anomaly) -> str:
    if anomaly.phase is Phase.CLOSED:
        return "over"
    return f"{anomaly.score:.3g} > {anomaly.threshold:.3g}" if anomaly.threshold else "rule"


async def _merged(*streams: AsyncIterator[AnomalyEvent]) -> AsyncIterator[AnomalyEvent]:
    """Yield each event of all streams as soon as it comes."""
    coming = {asyncio.ensure_future(anext(stream)): stream for stream in streams}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for arrived in done:
                stream = coming.pop(arrived)
                if isinstance(arrived.exception(), StopAsyncIteration):
                    continue
                yield arrived.result()
                coming[asyncio.ensure_future(anext(stream))] = stream
    finally:
        for waiting in coming:
            waiting.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
