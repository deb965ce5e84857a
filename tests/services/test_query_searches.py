"""query as a whole, on servers in memory: the searches that callers save."""

from contextlib import suppress
from typing import Any

import httpx
import pytest

from shotwatch_query.limits import memory
from shotwatch_query.routes import searches
from tests.support.effects import Died, Fault
from tests.support.faults import after_each_fault
from tests.support.world import World

from .conftest import SERIES, after
from .plays import query

PATH = "/api/v1/tables/searches"
SEARCH = {"place": [str(SERIES.place)], "where": "score > 4", "columns": ["kinds"], "aggregate": []}


@pytest.fixture
def world() -> World:
    return World()


async def put(client: httpx.AsyncClient, name: str, **changed: Any) -> httpx.Response:
    return await client.put(f"{PATH}/{name}", json={**SEARCH, **changed})


async def test_a_search_is_returned_as_it_was_saved_last(world: World) -> None:
    async with query(world, query_open=True) as client:
        assert (await put(client, "hot spots")).status_code == 200
        assert (await put(client, "hot spots", where="score > 5")).status_code == 200
        assert (await put(client, "another")).status_code == 200
        found = (await client.get(f"{PATH}/hot spots")).json()
        assert found["name"] == "hot spots"
        assert {name: found["search"][name] for name in SEARCH} == {**SEARCH, "where": "score > 5"}
        listed = (await client.get(PATH)).json()["searches"]
        assert [each["name"] for each in listed] == ["another", "hot spots"]
        assert (await client.delete(f"{PATH}/another")).status_code == 204
        assert (await client.delete(f"{PATH}/another")).status_code == 204
        assert (await client.get(f"{PATH}/another")).status_code == 404


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"where": "scor > 1"}, 422, "did you mean score"),
        ({"place": ["LZ"]}, 404, "has no place LZ"),
        ({"place": []}, 422, "a value that is not valid"),
        ({"where": "a" * 4001}, 422, "a value that is not valid"),
        ({"columns": ["scor"]}, 422, "there is no column scor"),
        ({"columns": ["x" * 201]}, 422, "a value that is not valid"),
        ({"from": "2022-07-01"}, 422, "a value that is not valid"),
        ({"every": "year"}, 422, "a value that is not valid"),
    ],
    ids=["expression", "place", "no place", "too long", "column", "long name", "a span", "period"],
)
async def test_what_no_search_accepts_is_not_saved(
    world: World, changed: dict[str, Any], status: int, reason: str
) -> None:
    async with query(world, query_open=True) as client:
        response = await put(client, "wrong", **changed)
        assert response.status_code == status, response.text
        assert reason in response.json()["detail"]
        assert (await client.get(PATH)).json() == {"searches": []}


@pytest.mark.parametrize(
    "name", ["%20x", "a%2Fb", "x" * 61, "%E2%80%AE"], ids=["blank", "slash", "long", "mark"]
)
async def test_other_names_are_refused(world: World, name: str) -> None:
    async with query(world, query_open=True) as client:
        assert (await put(client, name)).status_code in (404, 422)
        assert not world.documents("searches")


async def test_a_caller_saves_so_many_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "MOST_SEARCHES", 2)
    async with query(world, query_open=True) as client:
        for name in ("a", "b"):
            assert (await put(client, name)).status_code == 200
        full = await put(client, "c")
        assert full.status_code == 409
        assert "remove one" in full.json()["detail"]
        assert (await put(client, "b", where="score > 5")).status_code == 200


async def test_a_list_of_searches_is_made_in_reserved_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred large ones take 20 MiB, and a caller may ask for the list on hundreds of connections."""
    async with query(world, query_open=True) as client:
        assert (await client.get(PATH)).status_code == 200
        monkeypatch.setattr(memory, "SHARE_BYTES", searches._LIST_BYTES - 1)
        monkeypatch.setattr(memory, "MOST_WAITING_OF_CALLER", 0)
        assert (await client.get(PATH)).status_code == 429


async def test_a_malformed_search_is_left_out(world: World) -> None:
    async with query(world, query_open=True) as client:
        await put(client, "good")
        await put(client, "bad")
        for document in world.database["shotwatch"]["searches"].documents.values():
            if document["name"] == "bad":
                document["search"]["place"] = 7
        listed = (await client.get(PATH)).json()["searches"]
        assert [each["name"] for each in listed] == ["good"]


async def insist(world: World, method: str, **given: Any) -> None:
    """Request a change of the search "hot spots" until the API answers that it is made."""
    status = 503
    while status == 503:
        with suppress(Died):
            async with query(world, query_open=True) as client:
                status = (await client.request(method, f"{PATH}/hot spots", **given)).status_code
    assert status in (200, 204)


async def test_a_search_is_changed_then_audited_and_whatever_fails_who_asks_again_has_it_once() -> None:
    async def play(world: World) -> None:
        await insist(world, "PUT", json=SEARCH)
        await insist(world, "PUT", json={**SEARCH, "where": "score > 5"})

    start = World()
    undisturbed = await after(start, play)
    assert undisturbed.effects.done == ["update_one searches.owner", "insert_one audit"] * 2
    [expected] = undisturbed.documents("searches")
    assert expected["search"]["where"] == "score > 5"
    faults = 0
    async for world in after_each_fault(start, play):
        faults += 1
        assert world.documents("searches") == [expected]
    assert faults == 4 * len(Fault), "at each of the four effects"


async def test_a_search_is_removed_then_audited_and_stays_removed_whatever_fails() -> None:
    async def play(world: World) -> None:
        await insist(world, "DELETE")

    start = World()
    await insist(start, "PUT", json=SEARCH)
    undisturbed = await after(start, play)
    assert undisturbed.effects.done == ["delete_one searches", "insert_one audit"]
    async for world in after_each_fault(start, play):
        assert world.documents("searches") == []
