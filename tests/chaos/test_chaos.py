"""Nothing is lost and nothing is done twice, whatever breaks."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import pytest

from shotwatch_shots.vocabulary import AnomalyKind, ObjectState
from tests.trends import drop_energy

from .arena import PATIENCE_S, Account, Arena, twice, until
from .conftest import Line
from .inputs import BIG
from .tortures import QUICK, TORTURES, Inflicted, Torture

RECOVERED_S = 60.0
HISTORY_POINTS = ("announcing.after_store", "announcing.after_publish", "history.after_announce")

pytestmark = pytest.mark.timeout(900)


def cases() -> list[Any]:
    long = [pytest.param(torture, id=torture.name, marks=marks_of(torture)) for torture in TORTURES]
    return [*(pytest.param(torture, id=torture.name) for torture in QUICK), *long]


def marks_of(torture: Torture) -> list[pytest.MarkDecorator]:
    if not torture.known_hole:
        return [pytest.mark.chaos]
    return [pytest.mark.chaos, pytest.mark.xfail(reason=torture.known_hole, strict=True)]


@pytest.mark.parametrize("torture", cases())
async def test_after_it_all_is_as_if_nothing_had_happened(
    torture: Torture, arena: Arena, tell: Callable[[Line], None]
) -> None:
    undisturbed = await arena.reference(torture.input)
    assert undisturbed.shots
    assert undisturbed.begun
    await arena.clear()
    before = arena.restarts()
    inflicted = await torture.inflict(arena)
    over = monotonic()
    objects = len(arena.inputs[torture.input].files) + sum(inflicted.more.values())
    await arena.at_rest(objects)
    recovery = monotonic() - over
    after = await arena.account()
    lost, more = missing(undisturbed, after, torture), surplus(undisturbed, after, torture)
    tell(Line(torture.name, objects, inflicted.faults, len(lost), len(more) + twice(after), recovery))
    assert after.states == expected_states(undisturbed, inflicted)
    assert (lost, more, twice(after)) == ({}, {}, 0)
    assert after.unpublished == 0
    assert await arena.imbalances() == []
    assert after.begun.keys() <= after.received.keys(), "a subscriber heard of every condition"
    assert await arena.parked() == inflicted.parked
    assert torture.restarts or arena.restarts() == before, "no process dies of its input"
    assert recovery <= RECOVERED_S


async def test_an_undisturbed_run_tells_of_each_event_once(arena: Arena) -> None:
    undisturbed = await arena.reference(BIG)
    assert undisturbed.begun.keys() <= undisturbed.received.keys()
    assert twice(undisturbed) == 0
    assert all(shot["score"] is not None for shot in undisturbed.shots.values()), "a model scores them"
    assert {AnomalyKind.HOT_SPOT, AnomalyKind.FROZEN_FRAME} <= {
        kind for _, kind in undisturbed.begun.values()
    }
    assert set(undisturbed.revisions.values()) == {1}
    assert undisturbed.states[ObjectState.INGESTED] == len(arena.inputs[BIG].files)


@pytest.mark.chaos
@pytest.mark.parametrize("point", HISTORY_POINTS)
async def test_a_slow_change_is_one_event_though_history_died_over_it(
    point: str, arena: Arena, tell: Callable[[Line], None]
) -> None:
    await arena.clear()
    await drop_energy(arena.archive)
    arena.arm(point)
    async with arena.history() as dying:
        assert await asyncio.wait_for(dying.wait(), PATIENCE_S) == -signal.SIGKILL
    over = monotonic()

    async def told() -> bool:
        return bool(await arena.archive.trends.told_until())

    async with arena.history():
        await until(told, "the change told")
    after = await arena.account()
    tell(Line(f"SIGKILL of history at {point}", 0, 1, 0, twice(after), monotonic() - over))
    assert len(after.numbers) == len(after.begun) == 1
    assert twice(after) == 0
    assert after.unpublished == 0
    assert after.begun.keys() == after.received.keys()


def expected_states(undisturbed: Account, inflicted: Inflicted) -> dict[str, int]:
    return {
        state: count + inflicted.more.get(ObjectState(state), 0)
        for state, count in undisturbed.states.items()
    }


def missing(undisturbed: Account, after: Account, torture: Torture) -> dict[str, Any]:
    """What the undisturbed run has and this one has not, or has otherwise."""
    return _less(_account_of(undisturbed, torture), _account_of(after, torture))


def surplus(undisturbed: Account, after: Account, torture: Torture) -> dict[str, Any]:
    """What this run has and the undisturbed one has not at all."""
    known = _account_of(undisturbed, torture).keys()
    return {name: value for name, value in _account_of(after, torture).items() if name not in known}


def _less(these: Mapping[str, Any], those: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (value, those.get(name)) for name, value in these.items() if those.get(name) != value}


def _account_of(account: Account, torture: Torture) -> dict[str, Any]:
    """Shots and conditions by id. An id of an event says the revision: judged anew, it is another one."""
    if torture.revises:
        begun = {f"event {shot} {kind}": True for shot, kind in account.begun.values()}
        return {**account.shots, **begun}
    revisions = {f"revision of {shot}": revision for shot, revision in account.revisions.items()}
    return {**account.shots, **revisions, **{f"event {i}": what for i, what in account.begun.items()}}
