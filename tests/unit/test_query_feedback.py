"""What people may say about an event through the API."""

from types import SimpleNamespace

import httpx

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.feedback import Feedback
from shotwatch_common.contracts import AnomalyEvent
from shotwatch_query.routes.feedback import MOST_STATEMENTS
from shotwatch_query.service import create_app
from tests.unit.api import client, sources
from tests.unit.memory import Memory
from tests.unit.test_feedback import event

ACKNOWLEDGED = {"action": "acknowledged", "who": "amelie"}


class Events(dict[str, AnomalyEvent]):
    """Events by their ids."""

    async def find(self, event_id: str) -> AnomalyEvent | None:
        return self.get(event_id)


async def test_statements_about_one_condition_are_limited_and_others_are_not_hindered() -> None:
    database = Memory()
    told = [event("first"), event("second"), event("other", condition="other")]
    archive = SimpleNamespace(
        audit=Audit(database), feedback=Feedback(database), events=Events({each.id: each for each in told})
    )
    async with client(sources(archive=archive)) as api:

        async def say(event_id: str, n: int) -> httpx.Response:
            return await api.post(
                f"/api/v1/events/{event_id}/feedback", json={**ACKNOWLEDGED, "note": f"{n}"}
            )

        for n in range(MOST_STATEMENTS):
            assert (await say("first", n)).status_code == 201
        for again in ("first", "second"):
            refused = await say(again, MOST_STATEMENTS)
            assert refused.status_code == 409
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["detail"] == "condition first has 200 statements already, and may have 200"
        assert len(database["feedback"].documents) == MOST_STATEMENTS
        assert (await say("other", 0)).status_code == 201
        assert len((await api.get("/api/v1/events/second/feedback")).json()["statements"]) == MOST_STATEMENTS


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
