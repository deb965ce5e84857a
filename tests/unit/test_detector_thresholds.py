"""The facility's budget of false alarms is divided over its series: the shares add up to the budget."""

from dataclasses import replace
from pathlib import Path

import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_detector.thresholds import ONE_AN_HOUR, Share, share_of
from shotwatch_shots.place import Place, ShotSeries

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
    assert ONE_AN_HOUR.threshold == pytest.approx(4.5563)
