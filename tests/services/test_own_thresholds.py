"""A series with a past of its own: what it changes in the events of inference, and how the past is kept."""

import json
from typing import Any

import numpy as np
import pytest

from shotwatch_common.archive.measurements import Source
from shotwatch_common.bundle_files import digest_of
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_detector.thresholds import share_of
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.features.spec import Side
from shotwatch_shots.models import BlockScores, OwnThresholds, ScoredHour
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias
from tests.support import own_past_contract
from tests.support.faults import survived_every_fault
from tests.support.world import LASER, World

from .conftest import SERIES, START, promote
from .plays import history, inference
from .test_inference import Mirror

METER = "LA_FSD-EM_1-EnergyMeter-1"
ENERGY = AnomalyKind.ENERGY
THIS_HOUR = epoch_ms(START) // HOUR_MS
PER_HOUR = 360
FITTED = share_of(SERIES, LASER, 1.0).threshold
NORMAL = Tail(2.576, 1.0)


@pytest.fixture
async def watched(measured: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A champion by which the energy of each shot scores 0.9 times the fitted threshold."""
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    world = measured.fork()
    [batch] = world.documents("batches")
    measured_of = await world.archive.measurements.of_batch(batch["_id"], Source.FEATURES)
    value = float(np.median(measured_of[METER]["energy"]))
    baseline = Baseline(2 * value, value / NORMAL.distance(0.9 * FITTED), NORMAL, NORMAL, Side.BOTH, 300)
    digest = world.models.add("3", {METER: {"energy": baseline}})
    await promote(world, ModelAlias.CHAMPION, "3", digest)
    return world


async def remember(world: World, version: str, own: float, hours: int = 72) -> None:
    """Store a past of normal hours, whose scores fall short of what the tail predicts by a quarter."""
    draw = np.random.default_rng(8)
    for hour in range(THIS_HOUR - hours, THIS_HOUR):
        blocks = range(hour * PER_HOUR, (hour + 1) * PER_HOUR)
        of_blocks = -0.75 * np.log10(-np.expm1(np.log(draw.random(PER_HOUR)) / 10))
        scores = {ENERGY: dict(zip(blocks, of_blocks.tolist(), strict=True))}
        found = BlockScores().merged(BlockScores(frozenset(blocks), frozenset(), frozenset(), scores))
        thresholds = OwnThresholds(FITTED, {ENERGY: own}, hour - 1, 1)
        assert await world.archive.scored_hours.save(
            ScoredHour(str(SERIES), version, hour, thresholds, scores=found)
        )


async def energy_event(world: World) -> dict[str, Any] | None:
    """Judge the shots; return the event of their energy, if there is one."""
    await inference(world)
    found = [json.loads(body)["data"] for body in world.outcome().events]
    return next((event for event in found if event["kind"] == ENERGY), None)


async def test_a_past_of_three_days_changes_the_threshold_and_its_events_are_not_provisional(
    watched: World,
) -> None:
    cold, warm = watched.fork(), watched.fork()
    await remember(warm, "3", own=0.78 * FITTED)
    assert await energy_event(cold) is None
    event = await energy_event(warm)
    assert event is not None
    assert not event["provisional"]
    assert "provisional" not in event["why"]
    assert "by chance less than once in" in event["why"]
    assert event["score"] > event["threshold"] == pytest.approx(FITTED)
    stored = await warm.archive.scored_hours.load(str(SERIES), "3", THIS_HOUR)
    assert stored is not None
    assert 0.9 * 0.78 * FITTED <= stored.thresholds.own[ENERGY] < 0.9 * FITTED
    assert 3 / 72 < stored.thresholds.supported_per_hour < share_of(SERIES, LASER, 1.0).per_hour


async def test_a_past_that_is_short_supports_nothing_and_another_version_has_none(watched: World) -> None:
    world = watched.fork()
    await remember(world, "2", own=0.5 * FITTED)
    assert await energy_event(world) is None
    stored = await world.archive.scored_hours.load(str(SERIES), "3", THIS_HOUR)
    assert stored is not None
    assert stored.thresholds == OwnThresholds(pytest.approx(FITTED))


async def test_scores_are_kept_once_whatever_fails_and_without_the_block_of_an_anomaly(
    watched: World,
) -> None:
    await remember(watched, "3", own=1.05 * FITTED)
    done = await survived_every_fault(watched, inference)
    kept = [effect.partition(".")[0] for effect in done if "scored_hours" in effect]
    assert kept == ["insert_one scored_hours", "update_one scored_hours"]
    world = watched.fork()
    await inference(world)
    hour = await world.archive.scored_hours.load(str(SERIES), "3", THIS_HOUR)
    assert hour is not None
    assert hour.scores.seen == hour.scores.left_out  # the black frame lies in the same ten seconds
    assert hour.scores.alarmed == frozenset()
    assert hour.scores.highest == {ENERGY: {}}


async def test_the_challenger_has_thresholds_of_its_own_that_a_promotion_keeps(watched: World) -> None:
    world = watched.fork()
    [version] = world.models.versions
    bundle = world.models.versions[version]
    world.models.versions["4"] = bundle
    await promote(world, ModelAlias.CHALLENGER, "4", digest_of(bundle.bundle))
    await remember(world, "4", own=0.78 * FITTED)
    await inference(world)
    own = {document["model"]: document["own"] for document in world.documents("scored_hours")}
    assert own["4"] == {ENERGY: pytest.approx(0.78 * FITTED, rel=0.1)}
    assert own["3"] == {}
    [shadow] = world.documents("shadows")
    assert {kind for kinds in shadow["kinds"].values() for kind in kinds} == {ENERGY}


async def test_replicas_lose_no_batch_and_enter_none_twice() -> None:
    await own_past_contract.replicas_lose_no_batch_and_enter_none_twice(World().archive)


async def test_hours_are_found_by_series_version_and_time_and_deleted_when_old() -> None:
    await own_past_contract.hours_are_found_by_series_version_and_time_and_deleted_when_old(World().archive)


async def test_a_malformed_hour_keeps_no_shot_from_being_judged(watched: World) -> None:
    world = watched.fork()
    await remember(world, "3", own=0.78 * FITTED)
    with world.in_its_time():
        await world.archive.scored_hours.save(
            ScoredHour(str(SERIES), "3", THIS_HOUR, OwnThresholds(float("nan")))
        )
    await inference(world)
    assert all(document["judged_at"] for document in world.documents("batches"))


@pytest.mark.parametrize(("ratio", "reported"), [(1.05, []), (1.1, [1]), (1.35, [3]), (0.88, [-1])])
async def test_a_threshold_that_moved_is_reported_once_for_each_step(
    watched: World, ratio: float, reported: list[int]
) -> None:
    world = watched.fork()
    await remember(world, "3", own=ratio * FITTED, hours=1)
    await history(world)
    await history(world)
    events = [json.loads(body)["data"] for body in world.outcome().events]
    assert [event["severity"] for event in events] == ["warning" if step > 0 else "info" for step in reported]
    for event in events:
        assert event["kind"] == "drift"
        percent, side = round(100 * abs(ratio - 1)), "above" if ratio > 1 else "below"
        assert f"the threshold of energy at LA FSD is {percent} % {side} that of model" in event["why"]
