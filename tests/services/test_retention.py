"""history deletes old shots and blocks, on servers in memory, and nothing that is still needed."""

import pytest

from shotwatch_history import service
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.reconciliation.slices import Equality
from tests.support.faults import after_each_fault, differences
from tests.support.world import World

from .conftest import SHOTS, after
from .plays import history, inference, query
from .test_history import Rests, checked

DAY_S = 86_400
DELETED = ("batches", "measurements", "records", "shots", "windows")


def later(world: World, days: float) -> World:
    """Return a copy of the servers on another day."""
    other = world.fork()
    other.now_s += days * DAY_S
    return other


def stored(world: World) -> dict[str, int]:
    """Return how many documents the collections have in which old shots leave something."""
    return {name: len(world.documents(name)) for name in DELETED}


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """Three shots are judged; an event is about one of them."""
    return await after(measured, inference)


@pytest.fixture(scope="module")
async def uneventful(judged: World) -> World:
    """The same shots, without any event."""
    world = judged.fork()
    world.database["shotwatch"]["events"].documents.clear()
    world.database["shotwatch"]["counters"].documents.clear()
    return world


async def test_old_shots_are_deleted_and_the_raw_files_stay(uneventful: World) -> None:
    world = await after(later(uneventful, 91), history)
    assert stored(world) == dict.fromkeys(DELETED, 0)
    assert [each["_id"] for each in world.documents("shot_counts")] == ["extent"]
    assert {each["state"] for each in world.documents("objects")} == {"expired"}
    assert world.store.buckets["data"] == uneventful.store.buckets["data"] != {}


async def test_the_api_states_what_is_deleted(uneventful: World) -> None:
    world = await after(later(uneventful, 91), history)
    async with query(world, query_open=True) as client:
        response = await client.get(f"/api/v1/shots/{SHOTS[0]}")
        span = {"from": 0, "to": int(world.now_s * 1000)}
        ledger = (await client.get("/api/v1/ledger", params=span)).json()
    assert response.status_code == 404
    assert "most shots judged before 2025-10-10 have been deleted" in response.text
    assert (ledger["states"]["expired"], ledger["states"]["ingested"]) == (ledger["objects"], 0)
    assert ledger["shots_deleted_until"].startswith("2025-10-1")


async def test_the_ledger_still_balances(uneventful: World) -> None:
    world = await after(later(uneventful, 91), history)
    await history(world)
    found = {each["equality"]: each["imbalanced"] for each in checked(world).values() if "equality" in each}
    assert found.keys() >= {Equality.RECORDS, Equality.SHOTS, Equality.OBJECTS}
    assert not any(found.values()), checked(world)


async def test_a_young_file_that_somebody_declared_expired_is_an_imbalance(uneventful: World) -> None:
    """Otherwise nothing compares its records any more."""
    world = later(uneventful, 1)
    forged = world.documents("objects")[0]
    forged |= {"state": "expired", "arrived_at": 1}
    forged["history"].append(forged["history"][-1] | {"state": "expired"})
    await history(world)
    await history(world)
    found = {each["equality"]: each["imbalances"] for each in checked(world).values() if "equality" in each}
    assert [each["subject"] for each in found[Equality.OBJECTS]] == [
        f"object {forged['_id']} ({forged['key']})"
    ]


async def test_younger_shots_stay(uneventful: World) -> None:
    before = stored(uneventful)
    assert stored(await after(later(uneventful, 89), history)) == before != dict.fromkeys(DELETED, 0)


async def test_what_an_event_is_about_stays(judged: World) -> None:
    world = await after(later(judged, 400), history)
    assert stored(world) == stored(judged)
    assert {each["state"] for each in world.documents("objects")} == {"ingested"}
    await world.run(service.assemble, HistorySettings, delete_blocks_days="30")
    assert world.store.buckets["blocks"] == judged.store.buckets["blocks"]


async def test_a_window_with_a_message_to_publish_stays(uneventful: World) -> None:
    world = later(uneventful, 91)
    (window,) = world.documents("windows")
    window["outbox_since"] = 1
    await history(world)
    assert stored(world)["windows"] == 1
    assert stored(world)["shots"] == stored(uneventful)["shots"]


async def test_a_file_that_waits_for_a_person_keeps_its_shots(uneventful: World) -> None:
    world = later(uneventful, 91)
    world.documents("objects")[0]["state"] = "dead_lettered"
    await history(world)
    assert stored(world) == stored(uneventful)


async def test_blocks_go_before_shots(uneventful: World) -> None:
    world = later(uneventful, 31)
    await world.run(service.assemble, HistorySettings, delete_blocks_days="30")
    assert stored(world) == stored(uneventful)
    assert not [key for key in world.store.buckets["blocks"] if not key.startswith("residuals/")]
    assert [key for key in uneventful.store.buckets["blocks"] if not key.startswith("residuals/")]


async def test_whatever_fails_nothing_else_remains(
    uneventful: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may leave counts, which are upper bounds. A repeated run has a later horizon.

    The tables of such old shots were written long before.
    """
    monkeypatch.setattr(service, "LedgerWatch", Rests)
    monkeypatch.setattr(service, "TableCompaction", Rests)
    monkeypatch.setattr(service, "TableRetention", Rests)
    start = later(uneventful, 91)
    undisturbed = await after(start, history)
    promised = ["update_many objects", "delete_one windows", "delete_many shots", "delete_many batches"]
    assert [effect for effect in undisturbed.effects.done if effect in promised] == promised
    async for world in after_each_fault(start, history):
        wrong = [where for where, *_ in differences(world.outcome(), undisturbed.outcome())]
        allowed = ("/documents/shot_counts/", "/documents/retention/shots/horizon")
        assert all(where.startswith(allowed) for where in wrong), wrong
