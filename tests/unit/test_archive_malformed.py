"""An account that may add documents to a collection can add any: none keeps a service from the others."""

from typing import Any

import pytest

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.events import Events
from shotwatch_common.archive.feedback import Feedback
from shotwatch_common.archive.promotions import Promotions
from shotwatch_shots.feedback import LONGEST_SNOOZE_MS
from shotwatch_shots.vocabulary import ModelAlias
from tests.support.database import DatabaseInMemory

from .test_cli_events import event as anomaly_event

NOW = 1_760_000_000_000
HUGE = "x" * 100_000


@pytest.mark.parametrize("forged", [{"action": "snoozed", "at": NOW - 1}, {"incident": "i", "at": "never"}])
async def test_malformed_feedback_is_left_out(forged: dict[str, Any]) -> None:
    database = DatabaseInMemory()
    await database["feedback"].insert_one({"_id": "forged", **forged})
    feedback = Feedback(Database(database))
    assert await feedback.snoozes(NOW) == []
    assert await feedback.of_incident("i") == []
    assert await feedback.standings(["i"]) == {}
    assert await feedback.page(None, 0, NOW + LONGEST_SNOOZE_MS, 10) == []


@pytest.mark.parametrize("forged", [None, {}, {"specversion": "1.0"}, {"data": {"sequence": 2}}, "text"])
async def test_a_malformed_event_is_left_out(forged: object) -> None:
    database, event = DatabaseInMemory(), anomaly_event(0)
    events = Events(Database(database))
    await events.add([event.numbered(1)])
    malformed = {"_id": "forged", "sequence": 2, "stored_at": NOW, "published_at": 0, "shot": event.data.shot}
    await database["events"].insert_one({**malformed, "event": forged})
    assert [each.sequence for each in await events.numbered(0, 9)] == [1]
    assert [each.id for each in await events.of_shots([event.data.shot])] == [event.id]
    assert [each.id for each in await events.unpublished([event.id, "forged"])] == [event.id]
    assert await events.find("forged") is None


@pytest.mark.parametrize(
    "forged",
    [
        *({"who": None}, {"who": HUGE}, {"outcome": "unknown"}, {"count": "many"}, {"address": 7}),
        *({"at": -1.5}, {"status": []}, {"trace_id": HUGE}),
    ],
)
async def test_a_malformed_line_of_the_audit_is_left_out(forged: dict[str, Any]) -> None:
    database = DatabaseInMemory()
    audit = Audit(Database(database))
    id_ = await audit.note("promote", "3")
    good = database["audit"].documents[id_]
    await database["audit"].insert_one({**good, "_id": "forged", **forged})
    await database["audit"].insert_one({"_id": "empty", "at": good["at"]})
    assert list(await audit.page(0, good["at"] + 1, 10)) == [id_]
    assert list(await audit.lines([id_, "forged", "empty"])) == [id_]


async def test_a_promotion_of_any_size_becomes_a_short_one() -> None:
    database = DatabaseInMemory()
    await database["challengers"].insert_one({"_id": "forged", "at": NOW, "version": HUGE, "why": [HUGE]})
    [read] = await Promotions(Database(database)).newest(ModelAlias.CHALLENGER)
    assert len(str(read.version)) + len(read.why) < 2000
