"""history as a whole, on servers in memory."""

import json
from typing import Any

import pytest

from shotwatch_history import service
from shotwatch_shots.reconciliation.slices import Equality
from tests.support.faults import after_each_fault, differences, survived_every_fault
from tests.support.world import World
from tests.trends import DROPPED, METER, drop_energy

from .conftest import after
from .plays import history, inference


@pytest.fixture(scope="module")
async def dropped() -> World:
    """An energy meter shows a tenth less than before."""
    world = World()
    await drop_energy(world.archive)
    return world


async def test_a_lasting_change_is_reported_once(dropped: World) -> None:
    world = dropped.fork()
    await history(world)
    await history(world)
    [event] = [json.loads(body) for body in world.broker.events]
    assert (event["data"]["kind"], event["data"]["devices"]) == ("trend", [METER])
    assert abs(event["data"]["time"] - DROPPED) <= 60_000


class NoLedger:
    """A ledger that is not checked: the checks write the times and the results of each attempt."""

    def __init__(self, *_: object) -> None: ...

    async def poll(self) -> None: ...


async def test_it_publishes_before_it_records_and_survives_every_fault(
    dropped: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LedgerWatch", NoLedger)
    done = await survived_every_fault(dropped, history)
    promised = ["insert_many events", "publish event", "update_many events", "update_one trends.device"]
    assert [effect for effect in done if effect in promised] == promised


TIMES = {"again_at", "checked_at", "marked_at", "took_ms", "until"}
"""When the ledger is checked depends on the attempt; what the check finds does not."""


def checked(world: World) -> dict[str, dict[str, Any]]:
    """What the checks of the ledger found, by slice."""
    return {
        str(each["_id"]): {name: value for name, value in each.items() if name not in TIMES}
        for each in world.documents("reconciliations")
    }


async def test_whatever_fails_every_equality_of_the_ledger_is_checked_and_holds(measured: World) -> None:
    async def play(world: World) -> None:
        await history(world)
        world.effects.fault = None
        await history(world)  # what the fault has put off

    start = await after(measured, inference)
    undisturbed = await after(start, play)
    found = checked(undisturbed)
    assert {each["equality"]: each["imbalanced"] for each in found.values() if "equality" in each} == (
        dict.fromkeys(Equality, 0)
    )
    async for world in after_each_fault(start, play):
        assert checked(world) == found, f"effect {world.effects.at}: {world.effects.fault}"
        wrong = [where for where, *_ in differences(world.outcome(), undisturbed.outcome())]
        assert all(where.startswith("/documents/reconciliations/") for where in wrong), wrong
