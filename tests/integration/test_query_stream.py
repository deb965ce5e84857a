"""The stream of new events, as a subscriber receives it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import httpx
import pytest

from .query_world import LB, World, raise_event

FIRST = 100
"""Shots from here on have no events but those of this module."""


@contextmanager
def listening(world: World, **more: Any) -> Iterator[Iterator[dict[str, str]]]:
    """What the stream sends: fields of each message; one that does not come within 30 s is an error."""
    with world.api.stream("GET", "/events/stream", **more) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        reported = messages(answer.iter_lines())
        assert next(reported) == {"retry": "1000"}
        yield reported


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    message: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            message[name] = value.removeprefix(" ")
        elif message:
            yield message
            message = {}


def numbers(reported: Iterator[dict[str, str]], count: int) -> list[int]:
    found = list(islice(reported, count))
    assert [message["event"] for message in found] == ["anomaly"] * count
    assert [str(json.loads(message["data"])["data"]["sequence"]) for message in found] == [
        message["id"] for message in found
    ]
    return [int(message["id"]) for message in found]


async def test_what_was_missed_comes_first_then_what_is_new(world: World) -> None:
    missed = [(await raise_event(world, FIRST + n)).data.sequence for n in range(3)]
    with listening(world, params={"since": missed[0]}) as reported:
        assert numbers(reported, 2) == missed[1:]
        new = (await raise_event(world, FIRST + 3)).data.sequence
        assert numbers(reported, 1) == [new]


async def test_who_names_no_number_receives_only_what_is_new(world: World) -> None:
    await raise_event(world, FIRST + 10)
    with listening(world, params={"since": world.get("/events")["last"]}) as known:
        seen = await raise_event(world, FIRST + 11)
        assert numbers(known, 1) == [seen.data.sequence]
    with listening(world) as reported:
        new = await raise_event(world, FIRST + 12)
        assert numbers(reported, 1) == [new.data.sequence]


async def test_a_browser_that_comes_back_goes_on_where_it_was(world: World) -> None:
    first, second = [(await raise_event(world, FIRST + 20 + n)).data.sequence for n in range(2)]
    back = {"params": {"since": 0}, "headers": {"Last-Event-ID": str(first)}}
    with listening(world, **back) as reported:
        assert numbers(reported, 1) == [second]


async def test_a_subscriber_receives_only_what_the_filters_ask_for(world: World) -> None:
    since = world.get("/events")["last"]
    await raise_event(world, FIRST + 30)
    wanted = (await raise_event(world, FIRST + 31, series=LB)).data.sequence
    with listening(world, params={"since": since, "place": "LB"}) as reported:
        assert numbers(reported, 1) == [wanted]
        await raise_event(world, FIRST + 32)
        live = (await raise_event(world, FIRST + 33, series=LB)).data.sequence
        assert numbers(reported, 1) == [live]


@pytest.mark.parametrize(("n", "beyond"), [(40, 1000), (42, 2**52)])
async def test_a_number_beyond_the_end_is_answered_with_a_reset_to_the_present_end(
    world: World, n: int, beyond: int
) -> None:
    await raise_event(world, FIRST + n)
    end = world.get("/events", latest=1)["last"]
    with listening(world, headers={"Last-Event-ID": str(end + beyond)}, params={"place": "LB"}) as reported:
        reset = next(reported)
        last = json.loads(reset["data"])["last"]
        assert (reset["event"], reset["id"]) == ("reset", str(last))
        assert end - 1 <= last <= end  # the newest event may follow on the stream
        new = (await raise_event(world, FIRST + n + 1, series=LB)).data.sequence
        assert numbers(reported, 1) == [new]
    page = world.get("/events", since=end + beyond)
    assert (page["reset"], page["events"], page["more"]) == (True, [], False)
    assert page["last"] >= new


async def test_the_present_end_is_no_reason_for_a_reset(world: World) -> None:
    end = (await raise_event(world, FIRST + 50)).data.sequence
    assert world.get("/events", since=end)["reset"] is False
    with listening(world, headers={"Last-Event-ID": str(end)}) as reported:
        new = (await raise_event(world, FIRST + 51)).data.sequence
        assert numbers(reported, 1) == [new]


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("-1", id="negative"),
        pytest.param(str(2**53 + 1), id="huge"),
        pytest.param("9" * 5000, id="very long"),
        pytest.param("7; drop", id="words"),
        pytest.param("NaN", id="nan"),
    ],
)
def test_an_id_that_no_event_ever_had_is_answered_with_a_reset_too(world: World, hostile: str) -> None:
    """A browser that got an error for it would not come back."""
    with listening(world, headers={"Last-Event-ID": hostile}) as reported:
        assert next(reported)["event"] == "reset"


def test_the_stream_is_for_readers(world: World) -> None:
    labeller, nonsense = world.let_in("deaf", "label"), {"since": -1}
    with httpx.Client(base_url=world.api.base_url, timeout=30) as client:
        assert client.get("/events/stream").status_code == 401
        assert client.get("/events/stream", headers=labeller).status_code == 403
    assert world.api.get("/events/stream", params=nonsense).status_code == 422
