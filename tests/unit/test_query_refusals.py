"""Refused requests take little room, however many there are."""

import asyncio
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from shotwatch_common.archive.audit import MOST_CHARACTERS, Audit, AuditLine
from shotwatch_common.archive.driver import Database
from shotwatch_query.access import refusals as refusals_module
from shotwatch_query.access.refusals import MOST_KEPT, Refusals
from shotwatch_shots.vocabulary import ChangeOutcome, Scope
from tests.support.database import DatabaseInMemory
from tests.unit.api import client, sources
from tests.unit.test_query_limits import Refuser

WRONG = {"Authorization": "Bearer shotwatch_wrong"}
RIGHT = {"Authorization": "Bearer shotwatch_right"}
JSON = {"Content-Type": "application/json"}
FEEDBACK = "/api/v1/events/some/feedback"


def stored(database: DatabaseInMemory) -> list[dict[str, Any]]:
    return list(database["audit"].documents.values())


async def test_a_flood_of_wrong_keys_is_two_lines_with_their_number() -> None:
    database = DatabaseInMemory()
    behind = sources(database, access=Refuser())
    async with client(behind, headers=WRONG) as api:
        for _ in range(50):
            assert (await api.get("/api/v1/shots")).status_code == 401
            assert (await api.post(FEEDBACK, json={})).status_code == 401
    (line,) = stored(database)
    assert (line["who"], line["address"], line["count"]) == ("stranger", "127.0.0.1", 1)
    await behind.refusals.store_counts()
    _, line = stored(database)
    assert (line["count"], line["outcome"], line["status"]) == (99, ChangeOutcome.REFUSED, 401)
    await behind.refusals.store_counts()
    assert len(stored(database)) == 2


async def test_requests_that_no_scope_allows_are_two_lines_with_their_number() -> None:
    database = DatabaseInMemory()
    behind = sources(database, access=Refuser(frozenset({Scope.READ})))
    async with client(behind, headers=RIGHT) as api:
        for _ in range(20):
            assert (await api.post("/api/v1/nowhere")).status_code == 404
            assert (await api.delete("/api/v1/shots")).status_code == 405
            assert (await api.post(FEEDBACK, content="{", headers=JSON)).status_code == 422
    (line,) = stored(database)
    assert (line["who"], line["outcome"], line["status"]) == ("amelie", ChangeOutcome.FAILED, 404)
    await behind.refusals.store_counts()
    _, line = stored(database)
    assert (line["who"], line["count"], line["status"]) == ("amelie", 59, 422)


async def test_what_fails_for_a_caller_who_has_the_scope_is_stored_one_by_one() -> None:
    database = DatabaseInMemory()
    behind = sources(database, access=Refuser(frozenset({Scope.READ, Scope.LABEL})))
    async with client(behind, headers=RIGHT) as api:
        for _ in range(3):
            assert (await api.post(FEEDBACK, json={})).status_code == 422
    assert [(each["what"], each["status"], each["count"]) for each in stored(database)] == [
        ("give_feedback", 422, 1)
    ] * 3


async def test_another_minute_is_another_line_and_a_known_caller_too() -> None:
    database = DatabaseInMemory()
    behind = sources(database, access=Refuser(frozenset({Scope.READ})))
    async with client(behind) as api:
        for _ in range(3):
            await api.post(FEEDBACK, json={}, headers=RIGHT)
            await api.get("/api/v1/shots", headers=WRONG)
        await behind.refusals.store_counts()
        await api.get("/api/v1/audit", headers=RIGHT)
    await behind.refusals.store_counts()
    lines = [(each["who"], each["what"], each["status"], each["count"]) for each in stored(database)]
    assert lines == [
        ("amelie", "give_feedback", 403, 1),
        ("stranger", "search_shots", 401, 1),
        ("amelie", "give_feedback", 403, 2),
        ("stranger", "search_shots", 401, 2),
        ("amelie", "list_audit", 403, 1),
    ]


async def test_who_only_reads_and_shows_nothing_leaves_no_line() -> None:
    database = DatabaseInMemory()
    async with client(sources(database, access=Refuser())) as api:
        assert (await api.get("/api/v1/shots")).status_code == 401
    assert stored(database) == []


async def test_a_failed_login_is_counted_too() -> None:
    database = DatabaseInMemory()
    async with client(sources(database, access=Refuser())) as api:
        origin = {"Origin": str(api.base_url)}
        assert (await api.post("/login", data={"key": "wrong"}, headers=origin)).status_code == 401
    assert [(each["who"], each["what"]) for each in stored(database)] == [("stranger", "log_in")]


def line(who: str, address: str = "192.0.2.1", which: str = "/") -> AuditLine:
    return AuditLine(0, who, "search_shots", which, ChangeOutcome.REFUSED, 401, "", address)


async def test_beyond_a_hundred_addresses_a_minute_all_others_are_one_line() -> None:
    database = DatabaseInMemory()
    refusals = Refusals(Audit(Database(database)))
    for n in range(1000):
        await refusals.note(line("stranger", f"192.0.2.{n}"))
    await refusals.store_counts()
    assert len(stored(database)) == MOST_KEPT + 2
    others = stored(database)[-1]
    assert (others["who"], others["address"], others["count"]) == ("others", "", 1000 - MOST_KEPT - 1)


async def test_texts_of_a_line_are_cut() -> None:
    database = DatabaseInMemory()
    await Audit(Database(database)).add(line("x" * 60_000, which="/" + "y" * 60_000))
    (kept,) = stored(database)
    assert kept["which"] == f"/{'y' * (MOST_CHARACTERS - 1)}…"
    assert len(kept["who"]) == MOST_CHARACTERS + 1


async def test_counts_are_stored_at_the_end_of_the_minute_and_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusals_module, "EVERY_S", 0.01)
    database = DatabaseInMemory()
    async with Refusals.of(Audit(Database(database))) as refusals:
        for _ in range(7):
            await refusals.note(line("amelie"))
        async with asyncio.timeout(10):
            while [each["count"] for each in stored(database)] != [1, 6]:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(refusals_module, "EVERY_S", 1000)
        await asyncio.sleep(0.05)
        for _ in range(2):
            await refusals.note(line("boris"))
    assert [each["count"] for each in stored(database)] == [1, 6, 1, 1]


async def test_a_database_that_is_away_costs_a_line_and_nothing_else() -> None:
    class Away:
        async def add(self, _line: AuditLine) -> None:
            raise AutoReconnect("nobody answers")

    refusals = Refusals(Away())  # type: ignore[arg-type]
    for _ in range(3):
        await refusals.note(line("amelie"))
    await refusals.store_counts()
