"""What lasts is told once, again when it gets worse, and when it is over."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotwatch_detector.finding import Finding
from shotwatch_inference.domain.conditions import (
    REMIND_MS,
    Sighting,
    Telling,
    follow,
    quiet_ms,
)
from shotwatch_shots.incidents import Incidents
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

QUIET = 10_000
NOTHING = Incidents()


def sighting(
    time: int,
    kind: AnomalyKind = AnomalyKind.HOT_SPOT,
    severity: Severity = Severity.WARNING,
    device: str = "camera",
    score: float = 9.0,
) -> Sighting:
    finding = Finding(0, kind, severity, (device,), score, 4.6, "why")
    return Sighting(time, f"{kind}@{time}", finding)


def told(tellings: Sequence[Telling]) -> list[tuple[Phase, int, int, int]]:
    return [(t.phase, t.condition.since, t.condition.until, t.condition.shots) for t in tellings]


def test_a_condition_at_the_end_of_a_batch_is_opened() -> None:
    watch, tellings = follow(NOTHING, [sighting(t) for t in (1000, 2000, 3000)], 3000, QUIET)
    assert told(tellings) == [(Phase.OPENED, 1000, 3000, 3)]
    assert watch.open[AnomalyKind.HOT_SPOT].until == 3000


def test_what_came_and_went_within_a_batch_has_passed() -> None:
    watch, tellings = follow(NOTHING, [sighting(1000)], 60_000, QUIET)
    assert told(tellings) == [(Phase.PASSED, 1000, 1000, 1)]
    assert not watch.open


def test_what_lasts_on_is_not_told_again_and_its_end_is() -> None:
    watch, _ = follow(NOTHING, [sighting(1000)], 1000, QUIET)
    watch, still = follow(watch, [sighting(2000), sighting(3000)], 3000, QUIET)
    assert still == []
    watch, over = follow(watch, [], 20_000, QUIET)
    assert told(over) == [(Phase.CLOSED, 1000, 3000, 3)]
    assert over[0].sighting is None


@pytest.mark.parametrize(
    "change",
    [
        {"severity": Severity.CRITICAL},
        {"device": "another camera"},
    ],
)
def test_what_gets_worse_or_spreads_is_told_again(change: dict[str, str]) -> None:
    watch, _ = follow(NOTHING, [sighting(1000)], 1000, QUIET)
    _, tellings = follow(watch, [sighting(2000, **change)], 2000, QUIET)  # type: ignore[arg-type]
    assert told(tellings) == [(Phase.UPDATED, 1000, 2000, 2)]


def test_what_lasts_for_long_is_told_again_now_and_then() -> None:
    watch, tellings = NOTHING, []
    for time in range(0, 3 * REMIND_MS + 1, 1000):
        watch, more = follow(watch, [sighting(time)], time, QUIET)
        tellings += more
    assert [telling.phase for telling in tellings] == [Phase.OPENED, *[Phase.UPDATED] * 3]


def test_the_gravest_and_oddest_shot_shows_it() -> None:
    shots = [
        sighting(1000, score=50.0),
        sighting(2000, severity=Severity.CRITICAL, score=5.0),
        sighting(3000, severity=Severity.CRITICAL, score=9.0),
        sighting(4000, severity=Severity.CRITICAL, score=9.0),
    ]
    _, (telling,) = follow(NOTHING, shots, 4000, QUIET)
    assert telling.sighting is shots[2]
    assert telling.condition.severity is Severity.CRITICAL


def test_after_a_pause_it_is_another_condition() -> None:
    shots = [sighting(1000), sighting(1000 + QUIET), sighting(40_000)]
    _, tellings = follow(NOTHING, shots, 40_000, QUIET)
    assert told(tellings) == [(Phase.PASSED, 1000, 1000 + QUIET, 2), (Phase.OPENED, 40_000, 40_000, 1)]


def test_kinds_are_followed_for_themselves() -> None:
    shots = [sighting(1000), sighting(1000, AnomalyKind.ENERGY)]
    watch, tellings = follow(NOTHING, shots, 1000, QUIET)
    assert len(tellings) == 2
    _, tellings = follow(watch, [sighting(20_000, AnomalyKind.ENERGY)], 20_000, QUIET)
    assert sorted(t.phase for t in tellings) == [Phase.CLOSED, Phase.CLOSED, Phase.OPENED]


def test_shots_judged_again_after_it_was_over_are_nothing_new() -> None:
    watch, _ = follow(NOTHING, [sighting(1000)], 60_000, QUIET)
    assert follow(watch, [sighting(1000), sighting(2000)], 60_000, QUIET) == (watch, [])


@pytest.mark.parametrize("last", [1000, 60_000])
def test_what_was_none_after_all_hides_nothing(last: int) -> None:
    watch, (telling,) = follow(NOTHING, [sighting(1000)], last, QUIET)
    watch = watch.without({telling.condition.id})
    _, tellings = follow(watch, [sighting(2000)], 2000, QUIET)
    assert told(tellings) == [(Phase.OPENED, 2000, 2000, 1)]


def test_shots_from_before_a_condition_that_come_late_are_one_that_has_passed() -> None:
    watch, _ = follow(NOTHING, [sighting(100_000)], 100_000, QUIET)
    later, tellings = follow(watch, [sighting(1000)], 1000, QUIET)
    assert told(tellings) == [(Phase.PASSED, 1000, 1000, 1)]
    assert later.open == watch.open


def test_the_pause_that_ends_it_is_five_pulses_or_ten_seconds() -> None:
    assert [quiet_ms(period) for period in (100, 1000, 60_000)] == [10_000, 10_000, 300_000]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300_000), max_size=40, unique=True),
    st.integers(5_000, 50_000),
)
def test_the_same_shots_make_the_same_conditions_in_one_batch_or_many(times: list[int], length: int) -> None:
    shots = [sighting(time) for time in times]
    whole, _ = follow(NOTHING, shots, 400_000, QUIET)
    pieces = NOTHING
    for start in range(0, 400_001, length):
        piece = [each for each in shots if start <= each.time < start + length]
        pieces, _ = follow(pieces, piece, min(start + length - 1, 400_000), QUIET)
    pieces, _ = follow(pieces, [], 400_000, QUIET)
    assert [(c.since, c.until, c.shots) for c in whole.over] == [
        (c.since, c.until, c.shots) for c in pieces.over
    ]
