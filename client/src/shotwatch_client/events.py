"""Anomaly events: the stored ones, then new ones as they come."""

import json
import logging
import warnings
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from shotwatch_client.answer import Answer
from shotwatch_client.errors import EventsReset, NotPermitted, UnexpectedAnswer
from shotwatch_client.pages import require_few_empty
from shotwatch_client.rest import Postponed, Rest, Value, describe

PAGE = 500
"""Number of stored events that are asked for at a time."""
STREAM = "/events/stream"
RECONNECT_S = 1.0
"""Pause in seconds before a stream that the server ended is opened again; it ends each after 15 minutes."""
LONGEST_LINE_BYTES = 4 * 2**20
"""Maximum size of a message of the stream."""
_RESET = (
    "no event has the number {since} yet: the database was emptied, or an older copy was restored. Events "
    "after number {last}, the present end, follow; events(since=0) returns all there are"
)


@dataclass(frozen=True, slots=True)
class Event:
    """An anomaly event: which shot was anomalous, in which way, and why."""

    number: int
    """Counts the events of the whole system; pass the last one as `since` to continue after it."""
    id: str
    shot: str
    time: datetime
    """Time of the shot's pulse, UTC."""
    place: str
    interval: str
    kind: str
    severity: str
    """`info`, `warning` or `critical`."""
    devices: tuple[str, ...]
    score: float
    """For a model's anomaly: -log₁₀ of the probability that a normal shot deviates as much in any feature."""
    threshold: float
    provisional: bool
    """Whether `score` is more than the shots that the model learned from support."""
    why: str
    incident: str
    """Id of the event that opened the incident."""
    phase: str
    """`opened`, `updated`, `closed` or `passed`."""
    since: datetime
    """Time of the first shot that shows the incident, UTC."""
    until: datetime
    """Time of the last such shot so far, UTC."""
    document: Mapping[str, object] = field(repr=False)
    """The whole event as it was published: a CloudEvent."""

    @classmethod
    def of(cls, document: Answer) -> Self:
        """Return the event of a CloudEvent.

        Raises:
            UnexpectedAnswer: a property is missing, or of another type.
        """
        anomaly = document.part("data")
        return cls(
            number=anomaly.whole("sequence"),
            id=document.text("id"),
            shot=anomaly.text("shot"),
            time=anomaly.moment("time"),
            place=anomaly.text("place"),
            interval=anomaly.text("interval"),
            kind=anomaly.text("kind"),
            severity=anomaly.text("severity"),
            devices=anomaly.texts("devices"),
            score=anomaly.number("score"),
            threshold=anomaly.number("threshold"),
            provisional=anomaly.flag("provisional"),
            why=anomaly.text("why"),
            incident=anomaly.text("incident"),
            phase=anomaly.text("phase"),
            since=anomaly.moment("since"),
            until=anomaly.moment("until"),
            document=document.mapping(),
        )


def newest_number(rest: Rest) -> int:
    """Return the number of the newest event. Raises as `Rest.get` does."""
    return rest.get("/events", latest=1).whole("last")


def stored_events(rest: Rest, since: int, **filters: Value) -> Generator[Event, None, int]:
    """Yield the stored events after a number; return the number up to which they are complete.

    Raises as `Rest.get` does.
    """
    more, empty = True, 0
    while more:
        page = rest.get("/events", since=since, limit=PAGE, **filters)
        last, events = page.whole("last"), page.rows("events")
        empty += not events
        require_few_empty(empty, describe("GET", "/events", {"since": since, **filters}))
        if page.flag("reset"):
            warnings.warn(_RESET.format(since=since, last=last), EventsReset, stacklevel=2)
        yield from map(Event.of, events)
        since, more = last, page.flag("more")
    return since


def new_events(rest: Rest, since: int, **filters: Value) -> Iterator[Event]:
    """Yield events after a number as they come, for ever, each once.

    A connection that breaks is opened again, with longer and longer pauses while the server is away.

    Raises:
        NotPermitted: the key or token was revoked, expired or lost the scope `read`.
        NoData, NotAccepted, UnexpectedAnswer: the server refused the request.
    """
    log, failures = logging.getLogger(__name__), 0
    while True:
        try:
            with rest.stream(STREAM, {"Last-Event-ID": str(since)}, **filters) as pieces:
                for message in messages(pieces):
                    failures = 0
                    news = _content(message, since)
                    if isinstance(news, Event) and news.number > since:
                        since = news.number
                        yield news
                    elif isinstance(news, int):
                        since = news
            rest.sleep(RECONNECT_S)
        except Postponed as broken:
            failures += 1
            log.warning("the stream of events is opened again after: %s", broken.failure)
            rest.pause(failures, broken.wait_s)


@dataclass(slots=True)
class SentEvent:
    """A message of a stream of Server-Sent Events."""

    kind: str = "message"
    data: list[str] = field(default_factory=list)


def messages(pieces: Iterator[bytes]) -> Iterator[SentEvent]:
    """Yield the messages of a stream that have data.

    Source: HTML Living Standard, 9.2.6, Interpreting an event stream. The ids are not kept: an event's own
    number is its id.

    Raises:
        UnexpectedAnswer: a message has more than LONGEST_LINE_BYTES.
    """
    message, size = SentEvent(), 0
    for line in _lines(pieces):
        size += len(line)
        if size > LONGEST_LINE_BYTES:
            raise _too_long()
        if not line:
            if message.data:
                yield message
            message, size = SentEvent(), 0
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            message.kind = value
        elif name == "data":
            message.data.append(value)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            raise _too_long()
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")


def _too_long() -> UnexpectedAnswer:
    return UnexpectedAnswer(f"GET {STREAM}", f"a message has more than {LONGEST_LINE_BYTES:,} bytes")


def _content(message: SentEvent, since: int) -> Event | int | None:
    """Return the event of a message, or the number after which the stream continues; None otherwise."""
    if message.kind not in ("anomaly", "reset", "revoked"):
        return None
    document = _document(message, describe("GET", STREAM, {"since": since}))
    if message.kind == "anomaly":
        return Event.of(document)
    if message.kind == "revoked":
        raise NotPermitted(document.asked, document.text("wrong"), "Pass a key that is valid")
    last = document.whole("last")
    warnings.warn(_RESET.format(since=since, last=last), EventsReset, stacklevel=2)
    return last


def _document(message: SentEvent, asked: str) -> Answer:
    try:
        return Answer(asked, json.loads("\n".join(message.data)))
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(asked, "a message of the stream is not JSON") from error
