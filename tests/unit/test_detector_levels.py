"""Sequential tests: run lengths by simulation, changes that are found once, and batches of every size."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import poisson

from shotwatch_detector.level_states import (
    LEARNING_SHOTS,
    STATE,
    STEPS,
    StateError,
    States,
    new_state,
    states_of,
)
from shotwatch_detector.levels import LevelTests, follow_levels, level_tests, make_tests
from shotwatch_detector.run_lengths import limit_of, run_length
from shotwatch_detector.statistics import Baseline, measure_baseline, medians_of_runs
from shotwatch_detector.tails import Tail
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.features.spec import Side
from shotwatch_shots.levels import DeviceFeature, LevelShift
from shotwatch_shots.vocabulary import AnomalyKind
from tests.support.level_reference import PlainLevelTest

PERIOD_MS = 100
LONG = 1e7
"""A run length that no test waits for."""
Noise = Callable[[np.random.Generator, int, int], np.ndarray]


def statistics(many: int, run_length: float, least: float = 0.0, side: Side = Side.BOTH) -> LevelTests:
    """Tests of many statistics with a standard deviation of 1, each of another kind."""
    return make_tests(
        [("device", str(n)) for n in range(many)],
        np.ones(many),
        np.full(many, least),
        [side] * many,
        list(AnomalyKind)[:many],
        run_length,
    )


def followed(
    tests: LevelTests,
    values: np.ndarray,
    cuts: Sequence[int] = (),
    flagged: Any = (),
    states: dict[DeviceFeature, States] | None = None,
) -> tuple[dict[DeviceFeature, States], list[LevelShift]]:
    """The states and changes after values (n, k), in batches that begin at these shots."""
    states, changes = states or {}, []
    times = PERIOD_MS * np.arange(len(values), dtype=np.int64)
    for start, stop in pairwise(sorted({0, *cuts, len(values)})):
        part = slice(start, stop)
        features = {"device": {name: values[part, n] for n, (_, name) in enumerate(tests.statistics)}}
        alone = {kind: of[part] for kind, of in dict(flagged).items()}
        states, more = follow_levels(tests, states, features, times[part], alone)
        changes += more
    return states, changes


def plain_run_length(rng: np.random.Generator, limit: float, allowance: float, runs: int) -> np.ndarray:
    """The shots until a CUSUM of normal deviates exceeds its limit, in plain Python."""
    lengths = []
    for _ in range(runs):
        total, shots = 0.0, 0
        while total <= limit:
            total = max(0.0, total + rng.standard_normal() - allowance)
            shots += 1
        lengths.append(shots)
    return np.array(lengths)


@pytest.mark.parametrize("allowance", [step / 2 for step in STEPS])
def test_a_limit_has_the_run_length_that_it_states(allowance: float) -> None:
    lengths = plain_run_length(np.random.default_rng(5), limit_of(1000, allowance), allowance, 400)
    error = lengths.std() / np.sqrt(len(lengths))
    assert abs(lengths.mean() - 1000) < 2 * error + 0.07 * 1000


def test_a_run_length_grows_with_the_limit_and_has_a_smallest_value() -> None:
    assert run_length(limit_of(1e9, 0.5), 0.5) == pytest.approx(1e9)
    with pytest.raises(ValueError, match="too short"):
        limit_of(1.0, 0.125)


def test_with_a_known_reference_false_alarms_come_as_often_as_the_run_length_states() -> None:
    """The sums of a statistic cross together, so there are fewer than if each crossed alone, never more."""
    one, shots, many, times = 20_000.0, 1500, len(AnomalyKind), 300
    known = new_state(1.0)
    known["learned"], known["scale"] = 1, 1.0
    tests, rng = statistics(many, one / many), np.random.default_rng(9)
    states = dict.fromkeys(tests.statistics, known)
    alarms = sum(
        len(followed(tests, rng.standard_normal((shots, many)), states=states)[1]) for _ in range(times)
    )
    expected = times * many * -np.expm1(-shots / one)
    assert expected / 2.5 < alarms < poisson.ppf(0.975, expected)


NORMALS: dict[str, Noise] = {
    "white": lambda rng, n, k: rng.standard_normal((n, k)),
    "heavy tails": lambda rng, n, k: rng.standard_t(3, (n, k)) / 1.13,
    "correlated over ten shots": lambda rng, n, k: correlated(rng, n, k, 0.9),
    "correlated over thirty shots": lambda rng, n, k: correlated(rng, n, k, 0.97),
    "slow waves": lambda rng, n, k: waves(rng, n, k, 0.3),
    "slow waves larger than the least size": lambda rng, n, k: waves(rng, n, k, 1.0)[n // 2 :],
}


def correlated(rng: np.random.Generator, n: int, k: int, share: float) -> np.ndarray:
    """Autoregressive normals with a standard deviation of 1."""
    steps = np.sqrt(1 - share**2) * rng.standard_normal((n, k))
    return np.asarray(lfilter([1], [1, -share], steps, axis=0))


def waves(rng: np.random.Generator, n: int, k: int, height: float) -> np.ndarray:
    """White noise on waves with a period of 10 to 30 minutes at 10 Hz."""
    phases = np.arange(n)[:, np.newaxis] / rng.uniform(6000, 18_000, k) + rng.uniform(size=k)
    return np.asarray(rng.standard_normal((n, k)) + height * np.sin(2 * np.pi * phases))


@pytest.mark.parametrize("normals", NORMALS)
def test_normals_that_drift_that_are_correlated_or_heavy_tailed_raise_no_more_alarms_than_stated(
    normals: str,
) -> None:
    """Also while references are learned; only of waves larger than the least size, the first are missed."""
    shots, many, one = 150_000, 10, 20_000
    values = NORMALS[normals](np.random.default_rng(11), shots, many)
    _, changes = followed(statistics(many, one, least=0.3), values)
    alarms = sum(change.exceeds for change in changes)
    if "larger" in normals:
        alarms = sum(change.exceeds for change in changes if change.time > PERIOD_MS * len(values) // 2)
    assert alarms <= poisson.ppf(0.975, len(values) / one)


def test_the_tests_do_what_the_plain_one_does_through_steps_drifts_and_outliers() -> None:
    rng = np.random.default_rng(2)
    shots = 60_000
    values = rng.standard_normal((shots, 3))
    values[9000:, 0] += 2
    values[13_000:, 0] -= 3
    values[:, 1] += np.linspace(0, 8, shots)
    values[rng.random(shots) < 0.01, 2] += 50
    values[40_000:, 2] -= 1.5
    tests = statistics(3, 1e5, least=0.25)
    _, changes = followed(tests, values)
    limits = dict(zip(STEPS, tests.limits.tolist(), strict=True))
    expected = []
    for n in range(3):
        plain = PlainLevelTest(1.0, 0.25, limits)
        for shot, value in enumerate(values[:, n].tolist()):
            if change := plain.add(value, PERIOD_MS * shot):
                expected.append((str(n), PERIOD_MS * shot, *change[1:3], pytest.approx(change[3])))
    found = [(c.feature, c.time, c.since, c.shots, c.deviation) for c in changes]
    assert sorted(found) == sorted(expected, key=lambda each: each[:4])
    assert {each[0] for each in expected} == {"0", "1", "2"}


@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 11_999), max_size=8))
def test_batches_of_every_size_give_the_same_result_to_the_last_bit(cuts: set[int]) -> None:
    values = np.random.default_rng(3).standard_normal((12_000, 2))
    values[10_000:, 0] += 2
    values[::7, 1] = np.nan
    assert_same(statistics(2, LONG), values, sorted(cuts))


def test_single_shots_give_the_same_result_as_one_batch() -> None:
    values = np.random.default_rng(3).standard_normal((9000, 1))
    values[8000:] += 2
    assert_same(statistics(1, LONG), values, range(9000))


def assert_same(tests: LevelTests, values: np.ndarray, cuts: Sequence[int]) -> None:
    states, changes = followed(tests, values)
    others, more = followed(tests, values, cuts)
    assert changes
    assert more == changes
    assert {name: of.tobytes() for name, of in others.items()} == {
        name: of.tobytes() for name, of in states.items()
    }


@pytest.mark.parametrize("step", [1.0, 2.0, -1.5, 6.0])
def test_a_step_that_stays_is_reported_once_with_its_size_and_start(step: float) -> None:
    values = np.random.default_rng(4).standard_normal((40_000, 1))
    values[10_000:] += step
    _, [change] = followed(statistics(1, LONG, least=0.5), values)
    assert 10_000 <= change.time // PERIOD_MS < 10_400
    assert abs(change.since // PERIOD_MS - 10_000) < 30
    assert change.deviation == pytest.approx(np.clip(step, -4, 4), abs=0.6)
    assert change.reference == pytest.approx(0, abs=0.1)
    assert change.score > change.threshold == 7


def test_after_a_step_the_new_level_is_the_reference_within_minutes() -> None:
    values = np.random.default_rng(4).standard_normal((24_000, 1))
    values[9000:] += 2
    values[9000 + 3 * LEARNING_SHOTS :] -= 2
    _, [there, back] = followed(statistics(1, LONG, least=0.5), values)
    assert (there.deviation > 1, back.deviation < -1) == (True, True)
    assert back.reference == pytest.approx(2, abs=0.1)


def test_a_change_below_the_least_size_is_none_however_long_it_lasts() -> None:
    values = np.random.default_rng(4).standard_normal((100_000, 1))
    values[40_000:] += 0.45
    assert followed(statistics(1, 1e5, least=0.5), values)[1] == []


def test_a_drift_is_found_before_single_shots_could_show_it() -> None:
    values = np.random.default_rng(4).standard_normal((45_000, 1))
    values[33_000:, 0] += np.linspace(0, 4, 12_000)
    _, changes = followed(statistics(1, LONG, least=0.5), values)
    reached = 4 * (changes[0].time // PERIOD_MS - 33_000) / 12_000
    assert 0.5 < reached < 1.5
    assert len(changes) <= 4


@pytest.mark.parametrize(("step", "shots"), [(0.2, 100), (0.3, 30)])
def test_a_small_step_of_a_beam_that_moves_slowly_is_found_where_medians_of_runs_miss_most(
    step: float, shots: int
) -> None:
    """Jitter of 0.12 px, waves of 0.05 px and 15 minutes; the medians judge at one false alarm an hour."""
    rng, by_level, by_medians = np.random.default_rng(5), [], []
    tests = make_tests(
        [("camera", "centroid_x")],
        np.array([0.12]),
        np.array([0.1]),
        [Side.BOTH],
        [AnomalyKind.POINTING],
        360_000 * 11,
    )
    for _ in range(20):
        waves = 0.05 * np.sin(2 * np.pi * (np.arange(22_000) / 9000 + rng.random()))
        values = waves + 0.12 * rng.standard_normal(22_000)
        values[20_000:] += step
        baseline = measure_baseline(values[:2000], values[2000:3000], INDICATORS["centroid_x"], 30)
        assert baseline is not None
        medians = medians_of_runs(values[20_000:])
        surprisals = baseline.of_runs().surprisals(medians) * (np.abs(medians - baseline.centre) > 0.1)
        by_medians.append(bool((surprisals > np.log10(36_000 * 16)).any()))
        features = {"camera": {"centroid_x": values}}
        _, shifts = follow_levels(tests, {}, features, PERIOD_MS * np.arange(22_000), {})
        by_level += [shift.time // PERIOD_MS - 20_000 for shift in shifts]
    assert len(by_level) == 20
    assert min(by_level) >= 0
    assert np.median(by_level) < shots
    assert sum(by_medians) < 15


def test_outliers_are_no_level() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((60_000, 1))
    values[rng.random(60_000) < 0.01] += 1000
    assert followed(statistics(1, LONG, least=0.3), values)[1] == []


@pytest.mark.parametrize(("side", "found"), [(Side.BOTH, 2), (Side.LOW, 1), (Side.HIGH, 1)])
def test_only_the_side_that_matters_is_tested(side: Side, found: int) -> None:
    values = np.random.default_rng(4).standard_normal((25_000, 2))
    values[10_000:, 0] += 2
    values[10_000:, 1] -= 2
    _, changes = followed(statistics(2, LONG, side=side), values)
    assert len(changes) == found
    assert all(side is Side.BOTH or (c.deviation > 0) == (side is Side.HIGH) for c in changes)


def test_shots_that_raise_an_alarm_alone_are_no_evidence() -> None:
    values = np.random.default_rng(4).standard_normal((12_000, 1))
    values[10_000:] += 5
    tests = statistics(1, LONG)
    alone = {tests.kinds[0]: np.arange(12_000) >= 10_000}
    assert followed(tests, values, flagged=alone)[1] == []


def test_all_statistics_of_a_kind_learn_anew_and_report_one_change() -> None:
    values = np.random.default_rng(4).standard_normal((20_000, 2))
    values[10_000:] += [2, 1]
    names = [("a", "energy"), ("b", "energy")]
    tests = make_tests(names, np.ones(2), np.full(2, 0.2), [Side.BOTH] * 2, [AnomalyKind.ENERGY] * 2, LONG)
    features = {device: {"energy": values[:, n]} for n, (device, _) in enumerate(names)}
    _, changes = follow_levels(tests, {}, features, PERIOD_MS * np.arange(20_000), {})
    assert len({change.time for change in changes}) == 1
    assert {change.watching for change in changes} == {2}


def test_features_without_a_baseline_or_that_do_not_drift_are_not_tested() -> None:
    baseline = Baseline(1.0, 0.01, Tail(2.6, 1), Tail(1, 1), Side.BOTH)
    features = {"meter": {"energy": np.ones(3), "other": np.ones(3)}, "new": {"energy": np.ones(3)}}
    baselines = {"meter": {"energy": baseline, "energy_disagreement": baseline}}
    tests = level_tests(features, baselines, LONG)
    assert tests.statistics == [("meter", "energy")]
    assert tests.least == pytest.approx(0.01), "a hundredth of the energy"
    assert follow_levels(level_tests({}, {}, LONG), {}, {}, np.arange(0), {}) == ({}, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [("filled", 32), ("filled", -1), ("count", 60), ("span", 0), ("since", -5), ("sigma", 0), ("cusum", 1)],
)
def test_bytes_that_are_no_state_are_refused(name: str, value: int) -> None:
    state = new_state(1.0)
    assert states_of([state.tobytes()]).tobytes() == state.tobytes()
    state[name] = value
    with pytest.raises(StateError):
        states_of([state.tobytes()])
    with pytest.raises(StateError, match=f"{STATE.itemsize} bytes"):
        states_of([b"state"])
