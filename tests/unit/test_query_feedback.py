"""The feedback that people may give on an event through the API."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.feedback import Feedback
from shotwatch_query.access import Caller
from shotwatch_query.routes.feedback import MOST_OF_CALLER
from shotwatch_query.service import create_app
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.feedback import MOST_STATEMENTS, Statement
from shotwatch_shots.vocabulary import FeedbackAction, Scope
from tests.support.database import CollectionInMemory, DatabaseInMemory
from tests.unit.api import client, sources
from tests.unit.test_feedback import event

ACKNOWLEDGED = {"action": "acknowledged", "who": "amelie"}
FULL = MOST_STATEMENTS // MOST_OF_CALLER
"""Callers that fill an incident."""


class Events(dict[str, AnomalyEvent]):
    """Events by their ids."""

    async def find(self, event_id: str) -> AnomalyEvent | None:
        return self.get(event_id)


class Callers:
    """Knows everybody by the name that they show as their key, and lets them give opinions."""

    required = True

    async def caller(self, credential: str) -> Caller:
        return Caller(credential, frozenset({Scope.READ, Scope.LABEL}))


class Slow(CollectionInMemory):
    """Lets others run between what it is asked and what it answers."""

    async def count_documents(self, query: Any) -> int:
        counted = await super().count_documents(query)
        await asyncio.sleep(0)
        return counted


class Api:
    """Events `first` and `second` of one incident, and `other` of another."""

    def __init__(self, keyed: bool = True) -> None:
        self.database = DatabaseInMemory()
        self.database["feedback"] = Slow()
        reported = [event("first"), event("second"), event("other", incident="other")]
        self.archive = SimpleNamespace(
            audit=Audit(Database(self.database)),
            feedback=Feedback(Database(self.database)),
            events=Events({each.id: each for each in reported}),
        )
        given = {"access": Callers()} if keyed else {}
        self.http = client(sources(archive=self.archive, **given))

    async def state(self, key: str, event_id: str, note: object, **expected: Any) -> httpx.Response:
        return await self.http.post(
            f"/api/v1/events/{event_id}/feedback",
            json={**ACKNOWLEDGED, "note": f"{note}", **expected},
            headers={"Authorization": f"Bearer {key}"},
        )

    async def about(self, event_id: str) -> Any:
        path = f"/api/v1/events/{event_id}/feedback"
        return (await self.http.get(path, headers={"Authorization": "Bearer reader"})).json()

    @property
    def stored(self) -> int:
        return len(self.database["feedback"].documents)


@pytest.mark.parametrize("caller", ["shift-a", "oidc:1234"])
async def test_an_opinion_states_whose_key_or_token_gave_it_whatever_the_name(caller: str) -> None:
    api = Api()
    expected = (await api.state(caller, "first", "", who="the director")).json()
    assert (expected["who"], expected["caller"]) == ("the director", caller)
    found = await api.about("second")
    assert [(each["who"], each["caller"]) for each in found["statements"]] == [("the director", caller)]
    standing = found["standing"]
    assert (standing["acknowledged_by"], standing["acknowledged_caller"]) == ("the director", caller)


async def test_nobody_states_whose_key_it_was_and_without_keys_there_is_none() -> None:
    refused = await Api().state("shift-a", "first", "", caller="shift-b")
    assert refused.status_code == 422
    expected = (await Api(keyed=False).state("whatever", "first", "")).json()
    assert (expected["who"], expected["caller"]) == ("amelie", "")


async def test_one_caller_fills_no_incident_and_bars_nobody() -> None:
    api = Api()
    for n in range(MOST_OF_CALLER):
        assert (await api.state("shift-a", "first", n)).status_code == 201
    for again in ("first", "second"):
        refused = await api.state("shift-a", again, MOST_OF_CALLER, who="somebody else")
        assert refused.status_code == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"] == (
            "shift-a made 40 statements about incident first already, and may make 40; another key or token "
            "still may"
        )
    assert (await api.state("shift-a", "other", 0)).status_code == 201
    assert (
        await api.state("shift-b", "second", "wrong: it is a false alarm", action="false")
    ).status_code == 201
    assert (await api.about("first"))["standing"]["verdict"] == "false"


async def test_all_callers_together_are_limited_and_the_audit_states_who_they_were() -> None:
    api = Api()
    for n in range(MOST_STATEMENTS):
        assert (await api.state(f"key-{n % FULL}", "first", n)).status_code == 201
    refused = await api.state("another", "first", "")
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "incident first has 200 statements already, and may have 200; the audit records who made them"
    )
    assert len((await api.about("second"))["statements"]) == api.stored == MOST_STATEMENTS
    lines = [each for each in api.database["audit"].documents.values() if each["status"] == 201]
    assert {each["who"] for each in lines} == {f"key-{n}" for n in range(FULL)}


async def test_requests_that_arrive_together_do_not_exceed_the_limit() -> None:
    api = Api()
    answers = await asyncio.gather(*(api.state("shift-a", "first", n) for n in range(MOST_OF_CALLER + 20)))
    assert [each.status_code for each in answers].count(201) == api.stored == MOST_OF_CALLER


async def test_of_more_statements_from_before_the_limit_the_newest_are_read() -> None:
    api = Api()
    for n in range(3 * MOST_STATEMENTS):
        statement = Statement.about(event("first"), FeedbackAction.ACKNOWLEDGED, f"number {n}", at=n)
        await api.archive.feedback.add(statement)
    await api.archive.feedback.add(
        Statement.about(event("other", incident="other"), FeedbackAction.FALSE, "amelie", at=1)
    )
    found = await api.about("first")
    assert len(found["statements"]) == MOST_STATEMENTS
    assert found["statements"][-1]["who"] == found["standing"]["acknowledged_by"] == "number 599"
    standings = await api.archive.feedback.standings(["first", "other"])
    assert standings["first"].acknowledged_by == "number 599"
    assert standings["other"].verdict is FeedbackAction.FALSE


def test_the_description_names_the_answer_where_it_may_come_and_nowhere_else() -> None:
    paths = create_app(sources()).openapi()["paths"]
    found = {
        (method, path): operation["responses"]["409"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "409" in operation["responses"]
    }
    ((where, answer),) = found.items()
    assert where == ("post", "/api/v1/events/{event_id}/feedback")
    assert list(answer["content"]) == ["application/problem+json"]
