"""Slow changes: reported when they are sure and matter, and only then."""

import numpy as np
import pytest

from shotwatch_history.domain.trends import Shift, Times, Values, find_shift
from shotwatch_history.events import event_of
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, Severity

METER = "LA_A1_11-EM_1-EnergyMeter-1"
START, MINUTE_MS = 1_656_660_780_000, 60_000
PLACE = ShotSeries.parse("LA-A1-11-100ms")


def times(count: int) -> Times:
    return START + MINUTE_MS * np.arange(count, dtype=np.int64)


def levels(*lengths_and_levels: tuple[int, float], noise: float = 0.002, seed: int = 0) -> Values:
    parts = [np.full(length, level) for length, level in lengths_and_levels]
    steps = np.concatenate(parts)
    return steps + np.random.default_rng(seed).normal(0, noise, len(steps))


def shift(values: Values) -> Shift | None:
    return find_shift(METER, "energy", times(len(values)), values)


def test_a_lasting_loss_of_energy_is_reported_with_its_time_and_size() -> None:
    found = shift(levels((60, 1.0), (60, 0.9)))
    assert found is not None
    assert found.time == pytest.approx(START + 60 * MINUTE_MS, abs=MINUTE_MS)
    assert (found.before, found.after) == pytest.approx((1.0, 0.9), abs=0.002)
    assert (found.percentile, found.severity) == (0.0, Severity.WARNING)
    assert found.why == (
        f"energy of {METER} has been 0.9 J since 2022-07-01 08:33 UTC, 1 J before; below 100 % of what it was"
    ).replace("0.9 J", f"{found.after:.4g} J").replace("1 J", f"{found.before:.4g} J")


def test_noise_alone_is_no_change() -> None:
    assert not any(shift(levels((120, 1.0), seed=seed)) for seed in range(100))


def test_a_change_that_does_not_matter_is_not_reported() -> None:
    assert shift(levels((60, 1.0), (60, 0.98))) is None


def test_a_change_that_barely_matters_is_reported_mildly() -> None:
    found = shift(levels((60, 1.0), (60, 0.95)))
    assert found is not None
    assert found.severity is Severity.INFO


def test_a_bad_minute_is_no_lasting_change() -> None:
    assert shift(levels((60, 1.0), (1, 0.3), (60, 1.0))) is None


def test_too_short_a_past_shows_nothing() -> None:
    assert shift(levels((5, 1.0), (5, 0.5))) is None
    assert shift(np.empty(0)) is None


def test_minutes_without_a_measurement_are_passed_over() -> None:
    values = levels((60, 1.0), (60, 0.9))
    values[::7] = np.nan
    assert shift(values) is not None


def test_the_same_change_found_again_is_the_same_event() -> None:
    first, again = shift(levels((60, 1.0), (20, 0.9))), shift(levels((60, 1.0), (60, 0.9), seed=1))
    assert first is not None
    assert again is not None
    reported, reported_again = event_of(first, PLACE, 0, "HPLS"), event_of(again, PLACE, 0, "HPLS")
    assert reported.id == reported_again.id != event_of(again, PLACE, first.time, "HPLS").id
    assert reported.data.kind is AnomalyKind.TREND
    assert reported.routing_key == "anomaly.warning.LA.A1.11.trend"
    (contribution,) = reported.data.contributions
    assert (contribution.device, contribution.feature, contribution.unit) == (METER, "energy", "J")
