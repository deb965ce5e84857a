"""What is usual, and how far is too far."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from shotwatch_detector.statistics import (
    FEWEST_CALIBRATION,
    FEWEST_TRAINING,
    OF_MEASURED,
    RUN,
    Baseline,
    last_of_run,
    measure_baseline,
    medians_of_runs,
)
from shotwatch_detector.tails import HEAVIEST, Tail, effective_shots, fit_tail, tail_of_weibull
from shotwatch_shots.features.spec import Indicator, Side
from shotwatch_shots.vocabulary import AnomalyKind

INDICATOR = Indicator(AnomalyKind.ENERGY, "energy")


def baseline_of(training: np.ndarray, calibration: np.ndarray, indicator: Indicator = INDICATOR) -> Baseline:
    baseline = measure_baseline(training, calibration, indicator, 1000)
    assert baseline is not None
    return baseline


ONCE_AN_HOUR = 7.0
"""Surprisal that one of a few hundred features must have for an alarm an hour at 10 Hz."""


def normals(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(10.0, 0.1, count)


def test_centre_and_sigma_are_those_of_the_distribution() -> None:
    baseline = baseline_of(normals(1, 5000), normals(2, 500))
    assert baseline.centre == pytest.approx(10, abs=0.01)
    assert baseline.sigma == pytest.approx(0.1, rel=0.05)


def test_one_anomaly_in_a_hundred_shots_sets_neither_reference_nor_threshold() -> None:
    training, calibration = normals(1, 500), normals(2, 250)
    clean = baseline_of(training, calibration)
    training[::100], calibration[::100] = 7.0, 7.0
    baseline = baseline_of(training, calibration)
    assert baseline.centre == pytest.approx(clean.centre, abs=0.01)
    assert baseline.tail.reach < 1.3 * clean.tail.reach


def test_a_hundred_thousand_normal_values_raise_no_alarm() -> None:
    baseline = baseline_of(normals(1, 300), normals(2, 100))
    assert baseline.surprisals(normals(3, 100_000)).max() < ONCE_AN_HOUR


@pytest.mark.parametrize("draw", ["normal", "laplace", "logistic", "uniform", "gumbel"])
@pytest.mark.parametrize("side", Side)
def test_surprisals_are_rarer_than_they_claim_and_not_by_orders_of_magnitude(draw: str, side: Side) -> None:
    indicator, surprisals = replace(INDICATOR, side=side), []
    for seed in range(4, 9):
        drawn = partial(getattr(np.random.default_rng(seed), draw), size=5000)
        surprisals.append(baseline_of(drawn(), drawn(), indicator).surprisals(drawn(size=200_000)))
    for surprisal in (2, 3, 4):
        share = (np.array(surprisals) > surprisal).mean()
        assert share < 1.5 * 10.0**-surprisal
        if draw != "uniform" and (draw, side) != ("gumbel", Side.LOW):
            assert share > 0.02 * 10.0**-surprisal


def test_a_heavy_tail_is_extrapolated_as_one() -> None:
    rng = np.random.default_rng(4)
    light, heavy = (
        fit_tail(drawn, Side.BOTH, 2.0, OF_MEASURED)
        for drawn in (rng.normal(size=2000), rng.laplace(size=2000))
    )
    assert light.shape > 0.9 > 0.75 > heavy.shape


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("shape", [0.8, 1.0, 1.5])
def test_a_tail_of_an_older_bundle_keeps_its_threshold(side: Side, shape: float) -> None:
    baseline = Baseline(0.0, 1.0, tail_of_weibull(Tail(3.0, shape), side), Tail(1, 1), side)
    direction = -1 if side is Side.LOW else 1
    for surprisal, tolerance in ((2.0, 0.01), (6.0, 0.01), (7.0, 0.2)):
        distance = direction * 3.0 * (surprisal / 2.0) ** (1 / shape)
        assert baseline.surprisals(np.array([distance])) == pytest.approx(surprisal, abs=tolerance)


def test_what_happens_on_the_other_side_proves_nothing_of_the_tail_on_this_one() -> None:
    rng = np.random.default_rng(4)
    light = np.abs(rng.normal(size=4000))
    heavy_below = np.where(rng.random(4000) < 0.5, light, -3 * rng.exponential(size=4000))
    high = Indicator(AnomalyKind.HOT_SPOT, "hot spot", side=Side.HIGH)
    low = Indicator(AnomalyKind.HOT_SPOT, "hot spot", side=Side.LOW)
    tails = [
        measure_baseline(heavy_below[:2000], heavy_below[2000:], indicator, 1000) for indicator in (high, low)
    ]
    assert tails[0] is not None
    assert tails[1] is not None
    assert tails[0].tail.shape > tails[1].tail.shape
    assert tails[0].tail.reach < tails[1].tail.reach


def test_few_shots_make_a_careful_tail() -> None:
    rng = np.random.default_rng(4)
    few, many = (
        [
            fit_tail(rng.normal(size=size), Side.BOTH, 2.0, OF_MEASURED).surprisals(np.array([5.0]))[0]
            for _ in range(20)
        ]
        for size in (30, 3000)
    )
    assert np.median(few) < np.median(many)
    assert fit_tail(np.empty(0), Side.BOTH, 2.0, OF_MEASURED) == Tail(2.0, HEAVIEST)


@pytest.mark.parametrize(("shots", "least"), [(40, 0.0), (90, 1e-7), (400, 1e-6)])
def test_thresholds_of_few_shots_are_exceeded_as_often_as_they_claim_on_average(
    shots: int, least: float
) -> None:
    rng = np.random.default_rng(6)
    chances = []
    for _ in range(100):
        limit = fit_tail(rng.normal(size=shots), Side.BOTH, 0.1, OF_MEASURED).distance(4.0)
        chances.append(2 * norm.sf(limit))
    assert least < np.mean(chances) < 1e-4


def test_the_threshold_of_a_few_shots_is_further_out_than_that_of_many() -> None:
    rng = np.random.default_rng(6)
    few, many = (
        np.mean([fit_tail(rng.normal(size=n), Side.BOTH, 0.1, OF_MEASURED).distance(6.0) for _ in range(20)])
        for n in (60, 2000)
    )
    assert few > 1.3 * many
    assert many == pytest.approx(norm.isf(0.5e-6), rel=0.15)


def test_shots_of_a_stretch_that_share_their_level_count_as_few() -> None:
    rng = np.random.default_rng(6)
    alike = np.repeat(rng.normal(size=9), 20)
    assert effective_shots(rng.normal(size=180)) > 150
    assert effective_shots(alike + 0.1 * rng.normal(size=180)) < 20
    assert effective_shots(np.full(180, 3.0)) == 180
    assert effective_shots(np.arange(3.0)) == 3


def test_a_drift_between_training_and_calibration_makes_the_tail_longer() -> None:
    baseline = baseline_of(normals(1, 300), normals(2, 100) + 0.5)
    assert baseline.centre == pytest.approx(10, abs=0.02)
    assert baseline.surprisals(normals(3, 1000) + 0.8).max() < 4


@pytest.mark.parametrize(
    ("indicator", "sigma"),
    [
        (Indicator(AnomalyKind.POINTING, "beam position", floor=0.1), 0.1),
        (Indicator(AnomalyKind.ENERGY, "energy", relative_floor=0.01), 0.5),
    ],
)
def test_a_feature_that_never_moved_gets_its_floor(indicator: Indicator, sigma: float) -> None:
    still = np.full(100, 50.0)
    assert baseline_of(still, still, indicator).sigma == pytest.approx(sigma)


def test_a_feature_without_spread_or_floor_is_not_judged() -> None:
    assert measure_baseline(np.full(100, 5.0), np.full(100, 5.0), INDICATOR, 1000) is None


@pytest.mark.parametrize(
    ("training", "calibration"),
    [(FEWEST_TRAINING - 1, FEWEST_CALIBRATION), (FEWEST_TRAINING, FEWEST_CALIBRATION - 1)],
)
def test_too_few_shots_prove_nothing(training: int, calibration: int) -> None:
    assert measure_baseline(normals(1, training), normals(2, calibration), INDICATOR, 1000) is None


def test_shots_without_a_value_do_not_count() -> None:
    values = np.concatenate([normals(1, FEWEST_TRAINING - 1), np.full(100, np.nan)])
    assert measure_baseline(values, normals(2, 100), INDICATOR, 1000) is None


def test_a_missing_value_is_no_deviation() -> None:
    baseline = baseline_of(normals(1, 300), normals(2, 100))
    assert baseline.surprisals(np.array([np.nan])) == 0


OF_BOTH = -np.log10(2 * norm.sf(4))
OF_ONE = -np.log10(norm.sf(4))


@pytest.mark.parametrize(
    ("side", "expected"),
    [(Side.HIGH, [0, OF_ONE]), (Side.LOW, [OF_ONE, 0]), (Side.BOTH, [OF_BOTH, OF_BOTH])],
)
def test_a_one_sided_feature_is_judged_on_its_side_only(side: Side, expected: list[float]) -> None:
    baseline = Baseline(centre=0, sigma=1, tail=Tail(2.5758, 1), run_tail=Tail(1, 1), side=side)
    assert baseline.surprisals(np.array([-4.0, 4.0])) == pytest.approx(expected, abs=0.001)


def test_the_median_of_a_run_ignores_single_outliers() -> None:
    values = np.zeros(30)
    values[[3, 14, 20]] = 1000
    assert (medians_of_runs(values) == 0).all()


def test_runs_cover_the_batch_and_report_where_they_end() -> None:
    values = np.where(np.arange(30) < 15, 0.0, 1.0)
    medians = medians_of_runs(values)
    first = int(np.argmax(medians > 0.9))
    assert 15 + RUN // 2 <= last_of_run(first) < 15 + RUN + RUN // 2


def test_a_batch_shorter_than_a_run_has_none() -> None:
    assert len(medians_of_runs(np.zeros(RUN - 1))) == 0


def test_a_shift_is_seen_long_before_a_single_shot_would_be_anomalous() -> None:
    baseline = baseline_of(normals(1, 300), normals(2, 600))
    shifted = normals(3, 120) + 0.4
    assert np.median(baseline.surprisals(shifted)) < 4
    assert np.median(baseline.of_runs().surprisals(medians_of_runs(shifted))) > ONCE_AN_HOUR
