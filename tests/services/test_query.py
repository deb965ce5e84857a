"""query as a whole, on servers in memory: what people change through it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.effects import Died, Fault
from tests.support.faults import after_each_fault
from tests.support.world import World

from .conftest import FLAWED, after
from .plays import inference, query

FALSE = {"action": "false", "who": "amelie"}
CONFIRMED = {"action": "confirmed", "who": "berta"}


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """A model raised an event."""
    world = await after(measured, inference)
    world.models.add("1", {})
    for event in world.documents("events"):
        event["event"]["data"]["model"] = {"name": "shotwatch", "version": "1", "run_id": "run-1"}
    return world


def event_of(world: World) -> str:
    [event] = world.documents("events")
    return str(event["_id"])


async def give(world: World, opinion: dict[str, str], **given: Any) -> httpx.Response | None:
    """Give feedback on the event; return the response, None if the service died over it."""
    response = None
    with suppress(Died):
        async with query(world, **{"query_open": True, **given}) as client:
            response = await client.post(f"/api/v1/events/{event_of(world)}/feedback", json=opinion)
    return response


async def insist(world: World, opinion: dict[str, str]) -> None:
    """Give feedback until it is accepted."""
    while (response := await give(world, opinion)) is None or response.status_code != 201:
        assert response is None or response.status_code == 503


def tags(world: World) -> dict[str, str]:
    return dict(world.models.versions["1"].tags)


async def test_a_statement_is_stored_then_audited_then_counted_in_the_registry(judged: World) -> None:
    world = judged.fork()
    response = await give(world, FALSE)
    assert response is not None
    assert response.status_code == 201
    assert world.effects.done == ["insert_one feedback", "insert_one audit", "tag confirmed", "tag false"]
    [statement] = world.documents("feedback")
    assert (statement["shot"], statement["action"], statement["who"]) == (FLAWED, "false", "amelie")
    [line] = world.documents("audit")
    assert (line["what"], line["which"].split("/")[-2:]) == ("give_feedback", [event_of(world), "feedback"])
    assert (line["outcome"], line["status"]) == ("done", 201)
    assert tags(world) == {"confirmed": "0", "false": "1"}


async def test_whatever_fails_who_asks_again_has_made_one_statement_and_the_next_verdict_is_counted(
    judged: World,
) -> None:
    async def play(world: World) -> None:
        await insist(world, FALSE)
        world.effects.fault = None
        world.now_s += 1
        await insist(world, CONFIRMED)

    undisturbed = await after(judged, play)
    expected = {each["_id"]: each for each in undisturbed.documents("feedback")}
    assert len(expected) == 2
    faults = 0
    async for world in after_each_fault(judged, play):
        faults += 1
        assert {each["_id"]: each for each in world.documents("feedback")} == expected
        assert tags(world) == tags(undisturbed) == {"confirmed": "1", "false": "0"}
    assert faults == 4 * len(Fault), "at each of the four effects"


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNANSWERED])
async def test_a_statement_that_could_not_be_stored_is_answered_so_and_audited_as_failed(
    judged: World, fault: Fault
) -> None:
    world = judged.fork(fault)
    response = await give(world, FALSE)
    assert response is not None
    assert response.status_code == 503
    [line] = world.documents("audit")
    assert (line["outcome"], line["status"]) == ("failed", 503)
    assert len(world.documents("feedback")) == (fault is Fault.UNANSWERED)


async def test_a_stranger_is_refused_and_audited_and_refused_even_if_the_audit_is_away(
    judged: World, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    keys.chmod(0o600)

    async def play(world: World) -> None:
        response = await give(world, FALSE, query_open=False, query_keys_file=keys)
        assert response is None or response.status_code == 401

    world = await after(judged, play)
    [line] = world.documents("audit")
    assert (line["who"], line["outcome"], line["status"]) == ("stranger", "refused", 401)
    async for disturbed in after_each_fault(judged, play):
        assert disturbed.documents("feedback") == []
