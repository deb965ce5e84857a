"""Steps and drifts that inference finds over many shots: what is stored, and what crashes and races leave."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shotwatch_common.archive import Archive
from shotwatch_common.archive.measurements import Source
from shotwatch_detector.level_states import new_state
from shotwatch_detector.series_levels import findings_in_batch, levels_after
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_detector.thresholds import Share
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.features.spec import Side
from shotwatch_shots.levels import SeriesLevels
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias
from tests.support.database import DatabaseClient
from tests.support.effects import Effects
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .conftest import SERIES, SHOTS, promote
from .plays import inference

METER = "LA_FSD-EM_1-EnergyMeter-1"
ENERGY = METER, "energy"
SHARE = Share(1.0)
SIGMA = 0.04
HALF_AN_HOUR_MS = 1_800_000
BASELINES = {METER: {"energy": Baseline(1.0, SIGMA, Tail(2.6, 1), Tail(1, 1), Side.BOTH)}}


def batch(start: int, many: int = 600, revision: int = 1) -> ShotBatch:
    pulses = start + 1000 * np.arange(many, dtype=np.int64)
    return ShotBatch(
        batch_id=f"{start}-{revision}",
        window_id="w",
        series=SERIES,
        pulses=pulses,
        revisions=np.full(many, revision),
        complete=np.ones(many, bool),
        members=[],
        last_arrival=0,
    )


def energies(shots: ShotBatch, level: float = 1.0) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(int(shots.pulses[0]) // 1000)
    return {METER: {"energy": level + SIGMA * rng.standard_normal(shots.batch_size)}}


def entered(stored: SeriesLevels, shots: ShotBatch, level: float = 1.0) -> SeriesLevels:
    after = levels_after(stored, shots, energies(shots, level), [], BASELINES, SHARE)
    return after or stored


@pytest.fixture
def learned() -> SeriesLevels:
    """The levels of a place whose meter has been seen for 8,400 shots."""
    levels = SeriesLevels(str(SERIES))
    for start in range(0, 8_400_000, 600_000):
        levels = entered(levels, batch(start))
    return levels


def test_a_batch_that_comes_again_or_as_a_revision_finds_its_shift_and_changes_nothing(
    learned: SeriesLevels,
) -> None:
    shots = batch(8_400_000)
    after = entered(learned, shots, level=1.08)
    [found] = findings_in_batch(after, shots, [], BASELINES, SHARE)
    assert (found.kind, found.devices, found.provisional) == (AnomalyKind.ENERGY, (METER,), True)
    stated = re.fullmatch(
        r"energy of LA FSD is (\d+) % above its reference on 1 of 1 device, as a step or drift over (\d+) "
        r"shots since 1970-01-01 02:20:0\d UTC; by chance once .* "
        r"\(provisional: learned from 1 independent shot\)",
        found.why,
    )
    assert stated, found.why
    assert 6 <= int(stated[1]) <= 10
    assert int(stated[2]) <= found.shot + 1 < 40
    assert entered(after, shots, level=1.08) is after
    assert findings_in_batch(after, batch(8_400_000, revision=2), [], BASELINES, SHARE) == [found]


def test_a_batch_that_is_late_is_not_entered(learned: SeriesLevels) -> None:
    late, newest = batch(8_400_000), batch(9_000_000)
    after = entered(learned, newest)
    assert entered(after, late, level=2.0) is after
    assert findings_in_batch(after, late, [], BASELINES, SHARE) == []
    overlapping = batch(9_000_000, many=900)
    assert entered(after, overlapping).until == overlapping.pulses[-1]


def test_a_shift_that_a_shot_shows_by_itself_is_not_reported_again(learned: SeriesLevels) -> None:
    shots = batch(8_400_000)
    after = entered(learned, shots, level=1.08)
    [shift] = findings_in_batch(after, shots, [], BASELINES, SHARE)
    alone = replace(shift, shot=shift.shot - 1)
    assert findings_in_batch(after, shots, [alone], BASELINES, SHARE) == []
    elsewhere = replace(alone, kind=AnomalyKind.POINTING)
    assert findings_in_batch(after, shots, [elsewhere], BASELINES, SHARE) == [shift]


def test_the_levels_of_devices_that_the_champion_does_not_know_are_dropped(learned: SeriesLevels) -> None:
    other = {"another": BASELINES[METER]}
    shots = batch(8_400_000)
    features = {"another": energies(shots)[METER]}
    after = levels_after(learned, shots, features, [], other, SHARE)
    assert after is not None
    assert set(after.states) == {("another", "energy")}
    assert levels_after(learned, shots, features, [], {}, SHARE) is None


async def test_replicas_that_enter_at_the_same_time_lose_no_change() -> None:
    archive = Archive(DatabaseClient(Effects()), "shotwatch")
    many = 20

    def follow(stored: SeriesLevels) -> SeriesLevels:
        return stored.after(stored.until + 1, {ENERGY: b"state"}, ())

    await asyncio.gather(*(archive.levels.enter("series", follow) for _ in range(many)))
    levels = await archive.levels.load("series")
    assert (levels.version, levels.until) == (many, many - 1)


async def test_what_is_stored_is_read_as_it_was_written(learned: SeriesLevels) -> None:
    archive = Archive(DatabaseClient(Effects()), "shotwatch")
    after = entered(learned, batch(8_400_000), level=1.08)
    assert await archive.levels.save(replace(after, version=1))
    assert await archive.levels.load(str(SERIES)) == replace(after, version=1)


@pytest.fixture
async def about_to_shift(measured: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A champion, and the levels of a meter whose next shots complete the evidence for a step."""
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", lambda _network: None)
    world = measured.fork()
    series = ShotSeries.parse(str(SERIES))
    [document] = world.documents("batches")
    measurements = await world.archive.measurements.of_batch(document["_id"], Source.FEATURES)
    middle = float(np.median(measurements[METER]["energy"]))
    sigma = 0.1 * middle
    tail = Tail(2.6, 1.0)
    baselines = {METER: {"energy": Baseline(middle, sigma, tail, tail, Side.BOTH)}}
    digest = world.models.add("3", baselines, {})
    await promote(world, ModelAlias.CHAMPION, "3", digest)
    state = new_state(sigma)
    state["learned"], state["scale"], state["centre"] = 1, sigma, 0.75 * middle
    state["allowance"] = 0.01 * middle
    state["cusum"][0, 0, 2], state["shots"][0, 0, 2], state["total"][0, 0, 2] = 14.0, 9, 9 * 2 * sigma
    state["since"][0, 0, 2] = HALF_AN_HOUR_MS
    await world.archive.levels.save(SeriesLevels(str(series)).after(0, {ENERGY: state.tobytes()}, ()))
    return world


def events(world: World) -> list[dict[str, Any]]:
    return [json.loads(body)["data"] for body in world.outcome().events]


async def test_a_step_raises_one_event_whatever_fails_and_is_stored_before_it_is_published(
    about_to_shift: World,
) -> None:
    done = await survived_every_fault(about_to_shift, inference)
    promised = ("update_one levels.version", "insert_many shots", "publish event")
    order = [done.index(effect) for effect in promised]
    assert order == sorted(order)
    world = about_to_shift.fork()
    await inference(world)
    [energy] = [event for event in events(world) if event["kind"] == "energy"]
    assert "as a step or drift over" in energy["why"]
    assert "since 1970-01-01 00:30:00 UTC" in energy["why"]
    assert (energy["model"]["version"], energy["shot"] in SHOTS) == ("3", True)
    [levels] = world.documents("levels")
    assert (levels["version"], len(levels["shifts"])) == (2, 1)
