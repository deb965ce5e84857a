"""Nothing is lost and nothing is done twice, whatever breaks."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import pytest

from shotwatch_shots.vocabulary import AnomalyKind, ObjectState
from tests.trends import drop_energy

from .bed import TIMEOUT_S, Account, FaultBed, twice, until
from .conftest import Line
from .injections import FAULT_INJECTIONS, QUICK, FaultInjection, Inflicted
from .inputs import BIG

RECOVERED_S = 60.0
HISTORY_POINTS = ("announcing.after_store", "announcing.after_publish", "history.after_announce")

pytestmark = pytest.mark.timeout(900)


def cases() -> list[Any]:
    long = [
        pytest.param(injection, id=injection.name, marks=marks_of(injection))
        for injection in FAULT_INJECTIONS
    ]
    return [*(pytest.param(injection, id=injection.name) for injection in QUICK), *long]


def marks_of(injection: FaultInjection) -> list[pytest.MarkDecorator]:
    if not injection.known_hole:
        return [pytest.mark.chaos]
    return [pytest.mark.chaos, pytest.mark.xfail(reason=injection.known_hole, strict=True)]


@pytest.mark.parametrize("injection", cases())
async def test_after_it_all_is_as_if_nothing_had_happened(
    injection: FaultInjection, bed: FaultBed, report: Callable[[Line], None]
) -> None:
    undisturbed = await bed.reference(injection.input)
    assert undisturbed.shots
    assert undisturbed.begun
    await bed.clear()
    before = bed.restarts()
    inflicted = await injection.inflict(bed)
    over = monotonic()
    objects = len(bed.inputs[injection.input].files) + sum(inflicted.more.values())
    await bed.at_rest(objects)
    recovery = monotonic() - over
    after = await bed.account()
    lost, more = missing(undisturbed, after, injection), surplus(undisturbed, after, injection)
    report(Line(injection.name, objects, inflicted.faults, len(lost), len(more) + twice(after), recovery))
    assert after.states == expected_states(undisturbed, inflicted)
    assert (lost, more, twice(after)) == ({}, {}, 0)
    assert after.unpublished == 0
    assert await bed.imbalances() == []
    assert after.begun.keys() <= after.received.keys(), "a subscriber received an event of every incident"
    assert await bed.dead_lettered() == inflicted.dead_lettered
    assert injection.restarts or bed.restarts() == before, "no process dies of its input"
    assert recovery <= RECOVERED_S


async def test_an_undisturbed_run_reports_each_event_once(bed: FaultBed) -> None:
    undisturbed = await bed.reference(BIG)
    assert undisturbed.begun.keys() <= undisturbed.received.keys()
    assert twice(undisturbed) == 0
    assert all(shot["score"] is not None for shot in undisturbed.shots.values()), "a model scores them"
    assert {AnomalyKind.HOT_SPOT, AnomalyKind.FROZEN_FRAME} <= {
        kind for _, kind in undisturbed.begun.values()
    }
    assert set(undisturbed.revisions.values()) == {1}
    assert undisturbed.states[ObjectState.INGESTED] == len(bed.inputs[BIG].files)


@pytest.mark.chaos
@pytest.mark.parametrize("point", HISTORY_POINTS)
async def test_a_slow_change_is_one_event_though_history_died_over_it(
    point: str, bed: FaultBed, report: Callable[[Line], None]
) -> None:
    await bed.clear()
    await drop_energy(bed.archive)
    bed.arm(point)
    async with bed.history() as dying:
        assert await asyncio.wait_for(dying.wait(), TIMEOUT_S) == -signal.SIGKILL
    over = monotonic()

    async def reported() -> bool:
        return bool(await bed.archive.trends.reported_until())

    async with bed.history():
        await until(reported, "the change reported")
    after = await bed.account()
    report(Line(f"SIGKILL of history at {point}", 0, 1, 0, twice(after), monotonic() - over))
    assert len(after.numbers) == len(after.begun) == 1
    assert twice(after) == 0
    assert after.unpublished == 0
    assert after.begun.keys() == after.received.keys()


def expected_states(undisturbed: Account, inflicted: Inflicted) -> dict[str, int]:
    return {
        state: count + inflicted.more.get(ObjectState(state), 0)
        for state, count in undisturbed.states.items()
    }


def missing(undisturbed: Account, after: Account, injection: FaultInjection) -> dict[str, Any]:
    """What the undisturbed run has and this one has not, or has otherwise."""
    return _less(_account_of(undisturbed, injection), _account_of(after, injection))


def surplus(undisturbed: Account, after: Account, injection: FaultInjection) -> dict[str, Any]:
    """What this run has and the undisturbed one has not at all."""
    known = _account_of(undisturbed, injection).keys()
    return {name: value for name, value in _account_of(after, injection).items() if name not in known}


def _less(these: Mapping[str, Any], those: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (value, those.get(name)) for name, value in these.items() if those.get(name) != value}


def _account_of(account: Account, injection: FaultInjection) -> dict[str, Any]:
    """Shots and incidents by id. An id of an event contains the revision: judged anew, it is another one."""
    if injection.revises:
        begun = {f"event {shot} {kind}": True for shot, kind in account.begun.values()}
        return {**account.shots, **begun}
    revisions = {f"revision of {shot}": revision for shot, revision in account.revisions.items()}
    return {**account.shots, **revisions, **{f"event {i}": what for i, what in account.begun.items()}}
