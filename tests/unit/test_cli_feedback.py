"""`shotwatch events`, on the answers of a REST API."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from getpass import getuser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import Result

from shotwatch_common.clock import epoch_now
from shotwatch_shots.event import AnomalyEvent

from .rest import run_against, served
from .test_cli_events import event

STANDING = {
    "acknowledged_by": "amelie",
    "acknowledged_caller": "shift-a",
    "snoozed_until": None,
    "verdict": "confirmed",
    "label": "pointing",
}
HOUR_MS = 3_600_000


def statement(event_id: str, **expected: Any) -> dict[str, Any]:
    return {
        **{"event": event_id, "at": "2022-07-01T07:40:00Z", "who": "amelie", "action": "acknowledged"},
        "caller": "shift-a",
        **{"label": None, "until": None, "note": "[seen]"},
        **expected,
    }


@dataclass
class Api:
    """Has three events, in pages of two, and answers a statement with itself."""

    events: dict[str, AnomalyEvent]
    expected: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def get(self, path: str) -> Any:
        match urlsplit(path).path.removeprefix("/api/v1/").split("/"):
            case ["events"]:
                return self.page({name: value for name, [value] in parse_qs(urlsplit(path).query).items()})
            case ["events", id_] if id_ in self.events:
                return self.events[id_].model_dump(mode="json", by_alias=True)
            case ["events", id_, "feedback"] if id_ in self.events:
                return {"standing": STANDING, "statements": [statement(id_)]}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        id_ = urlsplit(path).path.split("/")[-2]
        self.expected.append((id_, body))
        until = "2022-07-01T08:40:00Z" if body.get("until") else None
        return statement(id_, **{**body, "until": until})

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        self.asked.append(query)
        since = int(query.get("since", 0))
        found = [e for e in self.events.values() if e.data.sequence > since][: min(2, int(query["limit"]))]
        last = found[-1].data.sequence if found else since
        return {
            "events": [e.model_dump(mode="json", by_alias=True) for e in found],
            "standings": {"incident": STANDING},
            "last": last,
            "more": last < 9,
            "reset": False,
        }


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api({each.id: each for each in map(event, (5, 7, 9))})
    with served(api.get, api.post) as api.url:
        yield api


def shotwatch_events(api: Api, *arguments: str) -> Result:
    return run_against(api.url, "events", *arguments)


def documents(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_latest_events_are_listed_with_how_they_stand(api: Api) -> None:
    result = shotwatch_events(api, "list")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if "hot_spot" in line]
    assert [cell.strip() for cell in rows[0].strip("│").split("│")] == [
        *("5", "2022-07-01 07:33:00.100", "LA-A1-11", "warning", "hot_spot"),
        "a spot of 22 % of the peak [at 12, 40]",
        "confirmed: pointing, acknowledged by amelie (key shift-a)",
    ]
    assert len(rows) == 3


def test_programs_get_a_line_for_each_event(api: Api) -> None:
    listed = documents(shotwatch_events(api, "list", "--json"))
    assert [each["event"]["data"]["sequence"] for each in listed] == [5, 7, 9]
    assert all(each["standing"] == STANDING for each in listed)


def test_a_list_is_asked_for_page_by_page_with_its_filters(api: Api) -> None:
    shotwatch_events(api, "list", "--last", "50", "--kind", "hot_spot", "--severity", "warning")
    filters = {"kind": "hot_spot", "severity": "warning", "limit": "1000"}
    assert api.asked == [{"latest": "50", **filters}, {"since": "7", **filters}]


@pytest.mark.parametrize("named", ["7", "#7", "event-7"])
def test_an_event_is_shown_by_its_number_or_id(api: Api, named: str) -> None:
    (shown,) = documents(shotwatch_events(api, "show", named, "--json"))
    assert shown["event"]["id"] == "event-7"
    assert shown["standing"] == STANDING
    assert shown["statements"] == [statement("event-7")]


def test_people_see_what_was_wrong_where_and_how_sure_and_whose_feedback_it_is(api: Api) -> None:
    result = shotwatch_events(api, "show", "7")
    assert result.exit_code == 0, result.output
    for words in (
        *("a spot of 22 % of the peak [at 12, 40]", "LA-A1-11-100ms-20220701T073300.100"),
        *(
            "LA_A1_11-Camera_1-Camera-1",
            "8.12 (threshold 4)",
            "none: a rule",
            "amelie (key shift-a)",
            "[seen]",
        ),
    ):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("ack", "--note", "mine"), {"action": "acknowledged", "note": "mine"}),
        (("false",), {"action": "false", "note": ""}),
        (("confirm",), {"action": "confirmed", "label": None, "note": ""}),
        (("confirm", "--label", "pointing"), {"action": "confirmed", "label": "pointing", "note": ""}),
    ],
)
def test_feedback_is_sent_with_the_login_name(
    api: Api, arguments: tuple[str, ...], expected: dict[str, Any]
) -> None:
    (answer,) = documents(shotwatch_events(api, *arguments, "7", "--json"))
    assert api.expected == [("event-7", {**expected, "who": getuser()})]
    assert answer["action"] == expected["action"]


def test_a_snooze_ends_after_so_many_minutes(api: Api) -> None:
    before = epoch_now()
    documents(shotwatch_events(api, "snooze", "7", "--minutes", "60", "--who", "bruno", "--json"))
    ((_, expected),) = api.expected
    assert before <= expected.pop("until") - HOUR_MS <= epoch_now()
    assert expected == {"action": "snoozed", "who": "bruno", "note": ""}


def test_the_same_feedback_can_be_given_on_several_events(api: Api) -> None:
    result = shotwatch_events(api, "false", "5", "9")
    assert [id_ for id_, _ in api.expected] == ["event-5", "event-9"]
    assert "event-5" in result.stdout
    assert "event-9" in result.stdout


@pytest.mark.parametrize("named", ["8", "event-8", "../ledger"])
def test_no_feedback_is_sent_when_one_of_the_events_does_not_exist(api: Api, named: str) -> None:
    result = shotwatch_events(api, "false", "5", named)
    assert result.exit_code == 1
    assert "there is no" in result.stderr
    assert api.expected == []


def test_a_label_that_is_no_kind_of_anomaly_is_misuse(api: Api) -> None:
    result = shotwatch_events(api, "confirm", "7", "--label", "ufo")
    assert result.exit_code == 2
    assert "ufo" in result.stderr
