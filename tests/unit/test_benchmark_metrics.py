"""The benchmark's metrics against known answers and independent peers."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from shotwatch_benchmark.metrics import (
    ONE_AN_HOUR,
    FalseAlarms,
    ShotScores,
    auroc,
    recall,
    severity_found,
    threshold_at,
)


def drawn(count: int, shift: float, seed: int, blocks: int = 14) -> ShotScores:
    random = np.random.default_rng(seed)
    return ShotScores(random.normal(shift, 1, count), random.integers(0, blocks, count).astype(np.intp))


@pytest.mark.parametrize("shift", [0.0, 0.7, 3.0])
def test_auroc_is_the_mann_whitney_statistic(shift: float) -> None:
    normal, anomalous = drawn(800, 0, 1), drawn(300, shift, 2)
    peer = mannwhitneyu(anomalous.values, normal.values).statistic / (800 * 300)
    assert auroc(normal, anomalous, 0).value == pytest.approx(peer, abs=1e-12)


def test_ties_count_half() -> None:
    same = ShotScores(np.zeros(50), np.arange(50) % 5)
    assert auroc(same, same, 0).value == 0.5


def test_infinite_scores_are_above_all_others() -> None:
    normal = drawn(100, 0, 1)
    anomalous = ShotScores(np.full(20, np.inf), np.arange(20) % 14)
    assert auroc(normal, anomalous, 0).value == 1.0
    assert recall(anomalous.values, threshold_at(normal.values, ONE_AN_HOUR)) == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_states() -> None:
    covered = 0
    for seed in range(60):
        found = auroc(drawn(400, 0, 3 * seed), drawn(150, 0, 3 * seed + 1), seed)
        covered += found.low <= 0.5 <= found.high
    assert covered >= 51


def test_a_threshold_lets_no_more_normal_shots_pass_than_its_rate() -> None:
    normal = np.random.default_rng(0).permutation(10_000).astype(float)
    for rate in (0.01, 0.001):
        assert (normal > threshold_at(normal, rate)).mean() == rate


def test_with_too_few_normals_the_threshold_is_the_highest_of_them() -> None:
    assert threshold_at(np.arange(4000.0), ONE_AN_HOUR) == 3999.0


def test_one_alarm_an_hour_takes_108000_normals_without_an_alarm() -> None:
    assert FalseAlarms(108_000, 0).most_per_hour == pytest.approx(1.0, abs=0.01)
    assert FalseAlarms(100_000, 0).most_per_hour > 1
    assert FalseAlarms(36_000, 2).per_hour == 2


def test_the_severity_that_is_found_is_interpolated_between_those_tried() -> None:
    assert severity_found([0.0, 0.1, 0.3], [0.0, 0.4, 0.8], 0.5) == pytest.approx(0.15)
    assert severity_found([0.0, 0.1], [0.0, 0.4], 0.5) is None
