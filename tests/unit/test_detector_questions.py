"""Statistics that exceed their limits together count as one."""

import numpy as np
import pytest

from shotwatch_detector.questions import effective_members

SHOTS = 5000


def normals(seed: int, members: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(members, SHOTS))


def test_the_same_statistic_twice_counts_once() -> None:
    once = normals(1, 1)
    assert effective_members(np.repeat(once, 5, axis=0)) == 1
    assert effective_members(np.concatenate([once, 3 * once + 7])) == 1


def test_independent_statistics_all_count() -> None:
    assert effective_members(normals(1, 6)) == pytest.approx(6, rel=0.06)


def test_any_member_is_extreme_as_often_as_effective_members_would_be() -> None:
    statistics = normals(2, 1) + 0.5 * normals(3, 4)
    limits = np.quantile(statistics, 0.98, axis=1, keepdims=True)
    any_of_them = (statistics > limits).any(axis=0).mean()
    assert 1.2 < effective_members(statistics) < 3.5
    assert effective_members(statistics) == pytest.approx(any_of_them / 0.02, rel=0.01)


def test_few_shots_show_nothing_in_common() -> None:
    assert effective_members(np.repeat(normals(1, 1)[:, :200], 3, axis=0)) == 3
