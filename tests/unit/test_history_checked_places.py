"""A place is checked again after ten more minutes of data, and at the end of its data."""

from hypothesis import given
from hypothesis import strategies as st

from shotwatch_history.domain.checked_places import ENOUGH_MS, CheckedPlaces
from shotwatch_shots.place import ShotSeries

SERIES, OTHER = ShotSeries.parse("LA-FSD-00-1s"), ShotSeries.parse("LB-FSD-00-1s")
MINUTE_MS = 60_000


def checks(newest: list[int]) -> list[int]:
    """Return the rounds in which a place is checked, for the times of its newest record."""
    places, found = CheckedPlaces(), []
    for n, time in enumerate(newest):
        if places.is_due(SERIES, time):
            places.checked(SERIES, time)
            found.append(n)
    return found


def test_while_a_place_records_it_is_checked_every_ten_minutes_of_data():
    assert checks([n * MINUTE_MS for n in range(25)]) == [0, 10, 20]


def test_data_of_an_hour_that_come_at_once_are_checked_at_once():
    assert checks([0, 0, 60 * MINUTE_MS, 60 * MINUTE_MS]) == [0, 2]


def test_the_end_of_the_data_is_checked_once():
    assert checks([0, MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS]) == [0, 3]


def test_a_check_that_failed_is_repeated_in_the_next_round():
    places = CheckedPlaces()
    assert places.is_due(SERIES, 0)
    assert places.is_due(SERIES, 0)
    places.checked(SERIES, 0)
    assert not places.is_due(SERIES, 0)
    assert places.is_due(OTHER, 0)


@given(st.lists(st.integers(0, 3 * ENOUGH_MS), min_size=1, max_size=30))
def test_nothing_stays_unchecked_once_a_place_rests(newest: list[int]):
    rounds = [*newest, newest[-1]]
    assert rounds[checks(rounds)[-1]] == newest[-1]
