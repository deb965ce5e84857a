"""Thresholds: the share that a series has of the facility's budget, and the past of the series."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from shotwatch_common.facility_file import load_facility
from shotwatch_detector.thresholds import (
    ONE_AN_HOUR,
    Share,
    block_scores,
    incidents_of,
    most_exceeding,
    own_thresholds,
    share_of,
    threshold_of,
)
from shotwatch_shots.models import BlockScores, OwnThresholds, ScoredHour
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind

HPLS = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")


@pytest.mark.parametrize("per_hour", [0.1, 1.0, 7.0])
def test_all_series_together_raise_as_many_false_alarms_an_hour_as_the_budget_permits(
    per_hour: float,
) -> None:
    shares = [share_of(expected.series, HPLS, per_hour) for expected in HPLS.places]
    raised = [share.shots_per_hour * 10**-share.threshold for share in shares]
    assert sum(raised) == pytest.approx(per_hour)
    assert max(raised) == pytest.approx(min(raised))


def test_a_place_that_is_added_takes_its_share_from_the_others() -> None:
    series = HPLS.places[0].series
    halved = replace(HPLS, places=HPLS.places * 2)
    assert share_of(series, halved, 1.0).threshold == pytest.approx(
        share_of(series, HPLS, 1.0).threshold + 0.30103, abs=1e-5
    )


@pytest.mark.parametrize(("interval", "shots"), [("100ms", 36_000), ("1s", 3_600), ("60s", 60)])
def test_a_slow_series_spends_the_same_time_for_a_false_alarm_and_fewer_shots(
    interval: str, shots: int
) -> None:
    share = share_of(ShotSeries(place=Place.parse("LA-X-00"), interval=interval), HPLS, 1.0)
    assert 10**share.threshold == pytest.approx(len(HPLS.places) * shots)


def test_a_budget_of_more_than_every_shot_makes_no_negative_threshold() -> None:
    assert Share(100.0, 60.0).threshold == 0.0
    assert ONE_AN_HOUR.score == pytest.approx(4.5563)


ENERGY, POINTING = AnomalyKind.ENERGY, AnomalyKind.POINTING
BLOCK_MS, PER_HOUR = 10_000, 360
SHOTS_PER_BLOCK = 100


def surprisals_of_blocks(blocks: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """The highest of 100 independent surprisals, as each block of 10 s has it at 10 Hz."""
    return -np.log10(-np.expm1(np.log(draw.random(blocks)) / SHOTS_PER_BLOCK))


def rate_above(threshold: float, power: float, length: float) -> float:
    """The share of blocks whose highest score, length x surprisal^power, exceeds the threshold."""
    return float(-np.expm1(SHOTS_PER_BLOCK * np.log1p(-(10 ** -((threshold / length) ** (1 / power))))))


def descending(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sort(scores)[::-1]


def hours_of(
    scores: NDArray[np.float64], first: int = 0, thresholds: OwnThresholds | None = None, left_out: Any = ()
) -> list[ScoredHour]:
    """Hours with one score for each block."""
    hours = []
    for hour, of_hour in enumerate(scores.reshape(-1, PER_HOUR), first):
        blocks = range(hour * PER_HOUR, (hour + 1) * PER_HOUR)
        out = frozenset(blocks) & frozenset(left_out)
        found = BlockScores(frozenset(blocks), out, out, {ENERGY: dict(zip(blocks, of_hour, strict=True))})
        merged = BlockScores().merged(found)
        hours.append(
            ScoredHour("s", "1", hour, thresholds or OwnThresholds(ONE_AN_HOUR.score), scores=merged)
        )
    return hours


@given(st.integers(0, 50), st.integers(51, 10**6))
def test_the_bound_on_the_rate_is_that_of_clopper_and_pearson(exceeded: int, blocks: int) -> None:
    exact = binomtest(exceeded, blocks, alternative="less").proportion_ci(0.95, "exact").high
    assert most_exceeding(exceeded, blocks) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("power", [0.8, 1.0, 1.2], ids=["light tail", "as fitted", "heavy tail"])
@pytest.mark.parametrize("length", [0.7, 1.3], ids=["fitted too far", "fitted too near"])
@pytest.mark.parametrize("per_hour", [0.125, 1 / 120], ids=["one series", "fifteen series"])
def test_the_rate_over_blocks_held_out_is_the_one_asked_for_day_after_day(
    per_hour: float, length: float, power: float
) -> None:
    """Each day is judged by the threshold of the three days before it; what exceeded that is left out."""
    draw, rate = np.random.default_rng(1), per_hour / PER_HOUR
    exceeded: list[float] = []
    for _ in range(6):
        threshold, days = length * (-np.log10(rate / SHOTS_PER_BLOCK)) ** power, []
        for day in range(12):
            scores = length * surprisals_of_blocks(24 * PER_HOUR, draw) ** power
            days.append(scores[scores <= threshold])
            past = np.concatenate(days[-3:])
            found = threshold_of(descending(past), len(past), rate)
            assert found is not None
            threshold = found
            exceeded += [rate_above(threshold, power, length) / rate] * (day >= 3)
    assert 0.7 < np.mean(exceeded) < 1.6
    assert 0.6 < np.median(exceeded) < 1.4


def test_alarms_of_held_out_blocks_are_within_the_binomial_interval() -> None:
    draw, rate, alarms, days = np.random.default_rng(2), 0.125 / PER_HOUR, 0, 200
    past = surprisals_of_blocks(3 * 24 * PER_HOUR, draw)
    past = past[past <= -np.log10(rate / SHOTS_PER_BLOCK)]
    threshold = threshold_of(descending(past), len(past), rate)
    assert threshold is not None
    for _ in range(days):
        alarms += int((surprisals_of_blocks(24 * PER_HOUR, draw) > threshold).sum())
    blocks = days * 24 * PER_HOUR
    expected = past.size * rate
    # The threshold rests on some `expected` blocks, so the rate itself is uncertain by the root of that.
    slack = 1 + 2 / np.sqrt(2 * expected)
    interval = binomtest(alarms, blocks).proportion_ci(0.99, "exact")
    assert interval.low / slack < rate < interval.high * slack


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0.1, 9)), max_size=60),
    st.lists(st.tuples(st.integers(0, 40), st.floats(0.1, 9)), max_size=60),
    st.sets(st.integers(0, 40)),
)
def test_batches_may_be_entered_twice_and_in_any_order(
    one: list[tuple[int, float]], other: list[tuple[int, float]], anomalous: set[int]
) -> None:
    first, second = (
        BlockScores().merged(
            BlockScores(frozenset(block for block, _ in batch), out, frozenset(), {ENERGY: highest_of(batch)})
        )
        for batch, out in ((one, frozenset[int]()), (other, frozenset(anomalous)))
    )
    both = first.merged(second)
    assert both == second.merged(first) == both.merged(first) == both.merged(second)


def highest_of(batch: list[tuple[int, float]]) -> dict[int, float]:
    return {block: max(s for b, s in batch if b == block) for block, _ in batch}


def test_a_batch_has_the_highest_score_of_each_block_and_none_of_a_block_with_an_anomaly() -> None:
    pulses = np.array([10_000, 10_100, 20_000, 30_000, 19_900])
    scores = np.array([1.0, 3.0, 9.0, 0.0, 2.0])
    found = block_scores(pulses // BLOCK_MS, {ENERGY: scores}, anomalous={2}, alarmed=set())
    assert found == BlockScores(frozenset({1, 2, 3}), frozenset({2}), frozenset(), {ENERGY: {1: 3.0}})


def test_a_past_of_less_than_a_day_or_of_few_shots_sets_no_threshold_and_supports_its_rate() -> None:
    draw = np.random.default_rng(3)
    short = own_thresholds(
        hours_of(surprisals_of_blocks(20 * PER_HOUR, draw), 4), (), 24, ONE_AN_HOUR.share, BLOCK_MS
    )
    quiet = np.minimum(surprisals_of_blocks(PER_HOUR, draw), ONE_AN_HOUR.score)
    few = hours_of(quiet) + hours_of(quiet, 30)
    seldom = own_thresholds(few, (), 40, ONE_AN_HOUR.share, BLOCK_MS)
    assert short.own == seldom.own == {}
    assert (seldom.since, seldom.blocks) == (0, 2 * PER_HOUR)
    bound = binomtest(0, 2 * PER_HOUR, alternative="less").proportion_ci(0.95, "exact").high
    assert seldom.supported_per_hour == pytest.approx(bound * PER_HOUR)


def test_an_own_threshold_is_what_the_scores_of_the_past_give_within_the_change_of_a_day() -> None:
    scores = 1.05 * surprisals_of_blocks(72 * PER_HOUR, np.random.default_rng(4))
    wanted = threshold_of(descending(scores), len(scores), 0.1 / PER_HOUR)
    found = own_thresholds(hours_of(scores, thresholds=OwnThresholds(5.5)), (), 72, Share(0.1), BLOCK_MS)
    assert found.own[ENERGY] == pytest.approx(wanted)
    assert (found.since, found.blocks) == (0, 72 * PER_HOUR)


def test_blocks_with_confirmed_anomalies_neither_set_thresholds_nor_count_as_alarms() -> None:
    scores = surprisals_of_blocks(72 * PER_HOUR, np.random.default_rng(5))
    anomalies = range(100, 130)
    unconfirmed = own_thresholds(hours_of(scores, left_out=anomalies), (), 72, ONE_AN_HOUR.share, BLOCK_MS)
    span = (anomalies[0] * BLOCK_MS, anomalies[-1] * BLOCK_MS + 5)
    confirmed = own_thresholds(hours_of(scores, left_out=anomalies), [span], 72, ONE_AN_HOUR.share, BLOCK_MS)
    assert unconfirmed.blocks == confirmed.blocks == 72 * PER_HOUR - len(anomalies)
    assert unconfirmed.own == confirmed.own
    assert unconfirmed.supported_per_hour is not None
    assert confirmed.supported_per_hour is not None
    assert unconfirmed.supported_per_hour > confirmed.supported_per_hour


@pytest.mark.parametrize("factor", [0.96, 1.04], ids=["shrinking", "poisoned"])
def test_however_scores_drift_no_threshold_differs_by_more_than_a_tenth_from_those_of_its_day(
    factor: float,
) -> None:
    """Normal scores grow or shrink by 4 % an hour, below the threshold, as if somebody led the detector.

    The laser fires one hour in six.
    """
    draw, hours = np.random.default_rng(6), list[ScoredHour]()
    for hour in range(0, 240, 6):
        thresholds = own_thresholds(hours[-12:], (), hour, ONE_AN_HOUR.share, BLOCK_MS)
        limit = thresholds.own.get(ENERGY, thresholds.fitted)
        scores = surprisals_of_blocks(PER_HOUR, draw) * factor ** max(0, hour - 30)
        hours += hours_of(np.minimum(scores, limit), hour, thresholds)
    set_by_past = [each.thresholds.own.get(ENERGY, ONE_AN_HOUR.score) for each in hours]
    for n, threshold in enumerate(set_by_past):
        day = set_by_past[max(0, n - 4) : n + 1]
        assert 0.9 * max(day) - 1e-9 <= threshold <= 1.1 * min(day) + 1e-9
    far = set_by_past[-1] / ONE_AN_HOUR.score
    assert far > 1.3 if factor > 1 else far < 0.75


def test_a_question_with_too_few_scores_keeps_the_threshold_that_it_had() -> None:
    scores = surprisals_of_blocks(48 * PER_HOUR, np.random.default_rng(7))
    had = OwnThresholds(ONE_AN_HOUR.score, {POINTING: 5.0, ENERGY: 4.4})
    hours = [replace(each, thresholds=had) for each in hours_of(scores)]
    few = [
        replace(each, scores=replace(each.scores, highest={**each.scores.highest, POINTING: {}}))
        for each in hours
    ]
    assert own_thresholds(few, (), 48, ONE_AN_HOUR.share, BLOCK_MS).own[POINTING] == 5.0


def test_adjacent_blocks_are_one_incident() -> None:
    assert incidents_of({3, 4, 5, 9, 11, 12}) == 3
    assert incidents_of(()) == 0
