"""history as a whole, on servers in memory."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from shotwatch_common.process import Service, ServiceContext
from shotwatch_detector.statistics import Baseline, Tail
from shotwatch_history import service
from shotwatch_history.jobs import references
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.features.spec import Side
from shotwatch_shots.reconciliation.slices import Equality
from shotwatch_shots.vocabulary import CalibrationKind, ModelAlias
from tests.support.faults import after_each_fault, differences, survived_every_fault
from tests.support.world import World
from tests.trends import DROPPED, METER, drop_energy, keep_energies

from .conftest import after, promote
from .plays import history, inference

CAMERAS = 3
"""At the place of the shots."""


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


class Rests:
    """A job that does nothing: another one is tested, and each step of this one would be a step to fail at.

    The checks of the ledger also write the times and the results of each attempt.
    """

    def __init__(self, *_: object) -> None: ...

    async def poll(self) -> None: ...

    async def renew(self) -> None: ...


async def test_it_publishes_before_it_records_and_survives_every_fault(
    dropped: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LedgerWatch", Rests)
    done = await survived_every_fault(dropped, history)
    promised = ["insert_many events", "publish event", "update_many events", "update_one trends.device"]
    assert [effect for effect in done if effect in promised] == promised


@pytest.fixture
def other_jobs_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is not checked, and no day table is written."""
    for job in ("LedgerWatch", "TableCompaction", "TableRetention"):
        monkeypatch.setattr(service, job, Rests)


def recording(world: World, energy: float) -> Callable[..., Awaitable[Service]]:
    """Return what assembles the service, in a world whose meter records ten more minutes in each round."""
    minutes = count(2, 10)

    async def record() -> None:
        recorded = World()
        await keep_energies(recorded.archive, [energy] * 10, next(minutes))
        for name in ("measurements", "devices"):
            world.database["shotwatch"][name].documents.update(recorded.database["shotwatch"][name].documents)

    async def assemble(context: ServiceContext[HistorySettings], resources: AsyncExitStack) -> Service:
        assembled = await service.assemble(context, resources)
        return replace(assembled, background=(*assembled.background, record))

    return assemble


@pytest.mark.usefixtures("other_jobs_rest")
async def test_whatever_fails_a_drift_is_reported_once_by_one_event() -> None:
    """Only shots after the champion was first seen are compared with it, also after a restart."""
    start = World()
    await keep_energies(start.archive, [0.9, 0.9])
    trained = Baseline(1.0, 0.01, Tail(2.6, 1.5), Tail(2.6, 1.5), Side.BOTH)
    digest = start.models.add("3", {METER: {"energy": trained}})
    await promote(start, ModelAlias.CHAMPION, "3", digest)

    async def play(world: World) -> None:
        assemble = recording(world, 0.9)
        await world.run(assemble, HistorySettings)
        await world.run(assemble, HistorySettings)  # the first round of a process measures nothing

    undisturbed = await after(start, play)
    promised = ["replace_one drifts", "insert_many events", "publish event", "update_many events"]
    done = [effect for effect in undisturbed.effects.done if effect in promised]
    assert done == [*promised, "replace_one drifts"]
    async for world in after_each_fault(start, play):
        [event] = map(json.loads, set(world.broker.events))
        assert (event["data"]["kind"], event["data"]["sequence"]) == ("drift", 1)
        [stored] = world.documents("events")
        assert (stored["_id"], bool(stored["published_at"])) == (event["id"], True)
        [measured] = world.documents("drifts")
        assert measured["features"]["energy"]["shift"] == pytest.approx(-10)


@pytest.mark.usefixtures("other_jobs_rest")
async def test_a_reference_is_added_after_its_arrays_are_stored_and_survives_every_fault(
    measured: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arrays are the frames: a real reference needs a hundred of them, and seconds for each fault."""
    monkeypatch.setattr(references, "FEWEST_FRAMES", 2)
    monkeypatch.setattr(
        references, "make_reference", lambda frames, _: SimpleNamespace(to_npz=frames.tobytes)
    )
    judged = await after(measured, inference)
    done = await survived_every_fault(judged, history)
    made = [at for at, effect in enumerate(done) if effect == "insert_one calibration_constants"]
    assert len(made) == CAMERAS
    assert all(done[at - 1].startswith("put data/calibration_constants/") for at in made)
    world = await after(judged, history)
    for each in world.documents("calibration_constants"):
        assert (each["kind"], each["version"]) == (CalibrationKind.REFERENCE, 1)
        assert each["key"] in world.store.buckets["data"]


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
