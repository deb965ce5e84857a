"""history as a whole, on servers in memory."""

import json

import pytest

from shotwatch_history import service
from tests.support.faults import survived_every_fault
from tests.support.world import World
from tests.trends import DROPPED, METER, drop_energy

from .plays import history


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

    def __init__(self, _context: object) -> None: ...

    async def poll(self) -> None: ...


async def test_it_publishes_before_it_records_and_survives_every_fault(
    dropped: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LedgerWatch", NoLedger)
    done = await survived_every_fault(dropped, history)
    promised = ["insert_many events", "publish event", "update_many events", "update_one trends.device"]
    assert [effect for effect in done if effect in promised] == promised
