"""`shotwatch tail`: what is missed is asked for, what comes is awaited, and each event is shown once."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shotwatch_cli.events import Recent, event_line, matches, without_double, without_gap
from shotwatch_cli.failures import Failure
from shotwatch_cli.rest import MissedEvents, RestApi
from shotwatch_shots.event import Anomaly, AnomalyEvent, ModelRef
from shotwatch_shots.place import Place
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

from .rest import served

MODEL = ModelRef(name="shotwatch", version="3", run_id="0" * 32)


def event(sequence: int, severity: Severity = Severity.WARNING) -> AnomalyEvent:
    anomaly = Anomaly(
        sequence=sequence,
        shot="LA-A1-11-100ms-20220701T073300.100",
        revision=1,
        time=1656660780100,
        place=Place.parse("LA-A1-11"),
        interval="100ms",
        kind=AnomalyKind.HOT_SPOT,
        severity=severity,
        devices=["LA_A1_11-Camera_1-Camera-1"],
        score=8.125,
        threshold=4,
        why="a spot of 22 % of the peak [at 12, 40]",
        contributions=[],
        evidence=[],
        image_url=None,
        residual_url=None,
        model=None,
        incident="incident",
        phase=Phase.OPENED,
        since=0,
        until=0,
        shots=1,
        supersedes=[],
        trace_id="0" * 32,
    )
    return AnomalyEvent(
        id=f"event-{sequence}",
        source="/shotwatch/HPLS",
        subject=anomaly.shot,
        time="2022-07-01T07:33:01Z",
        trace_parent="",
        data=anomaly,
    )


async def stream(events: Iterable[AnomalyEvent]) -> AsyncIterator[AnomalyEvent]:
    for each in events:
        yield each


async def shown(
    missed: list[int], live: list[int], key: str = "anomaly.#", late: Iterable[int] = ()
) -> list[int]:
    """The numbers that `tail` shows, sorted; `late` is what the REST API held back at first."""
    asked = iter((missed, late))
    events = without_gap(
        lambda: stream(map(event, next(asked))), stream(map(event, live)), key, settled_after_s=0
    )
    return sorted([each.data.sequence async for each in without_double(events)])


async def test_an_event_that_was_missed_and_comes_again_is_shown_once() -> None:
    assert await shown([1, 2, 3], [2, 3, 4, 5]) == [1, 2, 3, 4, 5]


async def test_an_event_that_the_broker_delivers_twice_is_shown_once() -> None:
    assert await shown([], [4, 4, 5]) == [4, 5]
    assert [each.data.sequence async for each in without_double(stream(map(event, [4, 5, 4])))] == [4, 5]


async def test_an_event_with_an_earlier_number_that_comes_late_is_shown() -> None:
    assert await shown([1, 3], [2, 4]) == [1, 2, 3, 4]


async def test_an_event_that_was_held_back_at_first_is_asked_for_again() -> None:
    assert await shown([1], [4, 5], late=[2, 3, 4]) == [1, 2, 3, 4, 5]


async def test_what_comes_is_shown_while_nobody_reports_what_was_missed() -> None:
    back, answers = asyncio.Event(), iter(([1, 2], []))

    async def missed() -> AsyncIterator[AnomalyEvent]:
        if not back.is_set():
            raise Failure("the REST API does not answer")
        for each in next(answers):
            yield event(each)

    events = without_gap(missed, stream([event(3)]), "anomaly.#", settled_after_s=0, again_s=0)
    first = await anext(events)
    back.set()
    assert [first.data.sequence, *[each.data.sequence async for each in events]] == [3, 1, 2]


async def test_a_number_beyond_the_end_is_reported_and_the_present_end_is_gone_on_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it is when the database was emptied while `tail` waited for the broker."""
    pages = {
        "5000": {"events": [], "last": 2, "more": False, "reset": True},
        "2": {
            "events": [event(3).model_dump(mode="json", by_alias=True)],
            "last": 3,
            "more": False,
            "reset": False,
        },
    }
    with served(lambda path: pages[parse_qs(urlsplit(path).query)["since"][0]]) as url:
        async with RestApi(url) as api:
            missed = MissedEvents(api, 5000)
            assert [each.data.sequence async for each in missed()] == []
            assert [each.data.sequence async for each in missed()] == [3]
    assert "no event has the number 5000 yet" in capsys.readouterr().err


async def test_missed_events_that_the_binding_key_does_not_ask_for_are_left_out() -> None:
    assert await shown([1, 2], [], "anomaly.critical.#", late=[3]) == []


@pytest.mark.parametrize(
    ("binding_key", "routed"),
    [
        ("#", True),
        ("anomaly.#", True),
        ("anomaly.*.LA.#", True),
        ("anomaly.#.hot_spot", True),
        ("anomaly.*.LA.A1.11.hot_spot.#", True),
        ("anomaly.warning.LA.A1.11.hot_spot", True),
        ("anomaly.*", False),
        ("anomaly.*.LB.#", False),
        ("anomaly.critical.#", False),
        ("anomaly.warning.LA.A1.11.hot_spot.*", False),
        ("", False),
    ],
)
def test_a_binding_key_matches_as_a_topic_exchange_does(binding_key: str, routed: bool) -> None:
    assert matches(binding_key, "anomaly.warning.LA.A1.11.hot_spot") is routed


def test_only_the_last_ids_are_remembered() -> None:
    recent = Recent(capacity=2)
    assert [recent.is_new(identity) for identity in "abacab"] == [True, True, False, True, True, True]


def test_an_event_is_reported_in_one_line_with_number_time_place_severity_kind_score_and_why() -> None:
    scored = event(7, Severity.CRITICAL)
    scored = scored.model_copy(update={"data": scored.data.model_copy(update={"model": MODEL})})
    assert event_line(scored).plain.split() == [
        *("#7", "2022-07-01", "07:33:00.100", "LA-A1-11", "critical", "hot_spot", "8.12", ">", "4"),
        *["a", "spot", "of", "22", "%", "of", "the", "peak", "[at", "12,", "40]"],
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"threshold": 0.0}, " rule  a spot"), ({"phase": Phase.CLOSED}, " over  a spot")],
)
def test_what_a_rule_found_and_what_is_over_have_no_score_to_report(
    change: dict[str, Any], expected: str
) -> None:
    result = event(7)
    result = result.model_copy(update={"data": result.data.model_copy(update=change)})
    assert expected in event_line(result).plain
