"""What lasts is reported once, again when it gets worse, and when it is over."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotwatch_detector.finding import Finding
from shotwatch_inference.domain.incidents import (
    MOST_DEVICES,
    REMIND_MS,
    Notification,
    Observation,
    follow,
    quiet_ms,
)
from shotwatch_shots.incidents import Incidents
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

QUIET = 10_000
NOTHING = Incidents()


def observation(
    time: int,
    kind: AnomalyKind = AnomalyKind.HOT_SPOT,
    severity: Severity = Severity.WARNING,
    device: str = "camera",
    score: float = 9.0,
) -> Observation:
    finding = Finding(0, kind, severity, (device,), score, 4.6, "why")
    return Observation(time, f"{kind}@{time}", finding)


def summary(notifications: Sequence[Notification]) -> list[tuple[Phase, int, int, int]]:
    return [(t.phase, t.incident.since, t.incident.until, t.incident.shots) for t in notifications]


def test_an_incident_at_the_end_of_a_batch_is_opened() -> None:
    watch, notifications = follow(NOTHING, [observation(t) for t in (1000, 2000, 3000)], 3000, QUIET)
    assert summary(notifications) == [(Phase.OPENED, 1000, 3000, 3)]
    assert watch.open[AnomalyKind.HOT_SPOT].until == 3000


def test_what_came_and_went_within_a_batch_has_passed() -> None:
    watch, notifications = follow(NOTHING, [observation(1000)], 60_000, QUIET)
    assert summary(notifications) == [(Phase.PASSED, 1000, 1000, 1)]
    assert not watch.open


def test_what_lasts_on_is_not_reported_again_and_its_end_is() -> None:
    watch, _ = follow(NOTHING, [observation(1000)], 1000, QUIET)
    watch, still = follow(watch, [observation(2000), observation(3000)], 3000, QUIET)
    assert still == []
    watch, over = follow(watch, [], 20_000, QUIET)
    assert summary(over) == [(Phase.CLOSED, 1000, 3000, 3)]
    assert over[0].observation is None


@pytest.mark.parametrize(
    "change",
    [
        {"severity": Severity.CRITICAL},
        {"device": "another camera"},
    ],
)
def test_what_gets_worse_or_spreads_is_reported_again(change: dict[str, str]) -> None:
    watch, _ = follow(NOTHING, [observation(1000)], 1000, QUIET)
    _, notifications = follow(watch, [observation(2000, **change)], 2000, QUIET)  # type: ignore[arg-type]
    assert summary(notifications) == [(Phase.UPDATED, 1000, 2000, 2)]


def test_an_incident_that_lasts_names_a_bounded_number_of_devices_and_is_still_reported() -> None:
    """Each minute of a recorder may bring other made-up names: all incidents of a place are one document."""
    watch = NOTHING
    phases = []
    for n in range(2 * MOST_DEVICES):
        watch, notifications = follow(watch, [observation(1000 * n, device=f"made up {n}")], 1000 * n, QUIET)
        phases += [notification.phase for notification in notifications]
    incident = watch.open[AnomalyKind.HOT_SPOT]
    assert incident.devices == tuple(f"made up {n}" for n in range(MOST_DEVICES))
    assert incident.shots == 2 * MOST_DEVICES
    assert phases[MOST_DEVICES:] == [Phase.UPDATED] * (MOST_DEVICES * 1000 // REMIND_MS)


def test_what_lasts_for_long_is_reported_again_now_and_then() -> None:
    watch, notifications = NOTHING, []
    for time in range(0, 3 * REMIND_MS + 1, 1000):
        watch, more = follow(watch, [observation(time)], time, QUIET)
        notifications += more
    assert [notification.phase for notification in notifications] == [Phase.OPENED, *[Phase.UPDATED] * 3]


def test_the_gravest_and_most_anomalous_shot_shows_it() -> None:
    shots = [
        observation(1000, score=50.0),
        observation(2000, severity=Severity.CRITICAL, score=5.0),
        observation(3000, severity=Severity.CRITICAL, score=9.0),
        observation(4000, severity=Severity.CRITICAL, score=9.0),
    ]
    _, (notification,) = follow(NOTHING, shots, 4000, QUIET)
    assert notification.observation is shots[2]
    assert notification.incident.severity is Severity.CRITICAL


def test_after_a_pause_it_is_another_incident() -> None:
    shots = [observation(1000), observation(1000 + QUIET), observation(40_000)]
    _, notifications = follow(NOTHING, shots, 40_000, QUIET)
    assert summary(notifications) == [
        (Phase.PASSED, 1000, 1000 + QUIET, 2),
        (Phase.OPENED, 40_000, 40_000, 1),
    ]


def test_kinds_are_followed_for_themselves() -> None:
    shots = [observation(1000), observation(1000, AnomalyKind.ENERGY)]
    watch, notifications = follow(NOTHING, shots, 1000, QUIET)
    assert len(notifications) == 2
    _, notifications = follow(watch, [observation(20_000, AnomalyKind.ENERGY)], 20_000, QUIET)
    assert sorted(t.phase for t in notifications) == [Phase.CLOSED, Phase.CLOSED, Phase.OPENED]


def test_shots_judged_again_after_it_was_over_are_nothing_new() -> None:
    watch, _ = follow(NOTHING, [observation(1000)], 60_000, QUIET)
    assert follow(watch, [observation(1000), observation(2000)], 60_000, QUIET) == (watch, [])


@pytest.mark.parametrize("last", [1000, 60_000])
def test_what_was_none_after_all_hides_nothing(last: int) -> None:
    watch, (notification,) = follow(NOTHING, [observation(1000)], last, QUIET)
    watch = watch.without({notification.incident.id})
    _, notifications = follow(watch, [observation(2000)], 2000, QUIET)
    assert summary(notifications) == [(Phase.OPENED, 2000, 2000, 1)]


def test_shots_from_before_an_incident_that_come_late_are_one_that_has_passed() -> None:
    watch, _ = follow(NOTHING, [observation(100_000)], 100_000, QUIET)
    later, notifications = follow(watch, [observation(1000)], 1000, QUIET)
    assert summary(notifications) == [(Phase.PASSED, 1000, 1000, 1)]
    assert later.open == watch.open


def test_the_pause_that_ends_it_is_five_pulses_or_ten_seconds() -> None:
    assert [quiet_ms(period) for period in (100, 1000, 60_000)] == [10_000, 10_000, 300_000]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300_000), max_size=40, unique=True),
    st.integers(5_000, 50_000),
)
def test_the_same_shots_make_the_same_incidents_in_one_batch_or_many(times: list[int], length: int) -> None:
    shots = [observation(time) for time in times]
    whole, _ = follow(NOTHING, shots, 400_000, QUIET)
    pieces = NOTHING
    for start in range(0, 400_001, length):
        piece = [each for each in shots if start <= each.time < start + length]
        pieces, _ = follow(pieces, piece, min(start + length - 1, 400_000), QUIET)
    pieces, _ = follow(pieces, [], 400_000, QUIET)
    assert [(c.since, c.until, c.shots) for c in whole.over] == [
        (c.since, c.until, c.shots) for c in pieces.over
    ]
