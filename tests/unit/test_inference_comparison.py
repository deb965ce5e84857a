"""Two versions on the same shots: what only one of them calls anomalous, and how often each would call."""

import pytest

from shotwatch_inference.domain.comparison import Opinion, VersionTally, only
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.vocabulary import AnomalyKind

RULES = frozenset({AnomalyKind.BLACK_FRAME})
HOT_SPOT, ENERGY, POINTING = AnomalyKind.HOT_SPOT, AnomalyKind.ENERGY, AnomalyKind.POINTING


def tally(version: str, kinds: dict[str, list[AnomalyKind]], alarms: int = 0) -> VersionTally:
    """Of shots a, b, c and d, the anomalous ones with a score of 9."""
    made = VersionTally(version)
    scores = {shot: 9.0 if shot in kinds else float(n) for n, shot in enumerate("abcd")}
    made.add(Opinion(scores, kinds, alarms), seconds=2.0)
    return made


def test_shots_that_only_one_version_calls_anomalous_are_reported_with_both_scores() -> None:
    one, other = tally("1", {"a": [ENERGY]}), tally("2", {"a": [POINTING], "c": [ENERGY, HOT_SPOT]})
    alone = only(other, one)
    assert (alone.version, alone.shots, alone.kinds) == ("2", 1, {"energy": 1, "hot_spot": 1})
    (example,) = alone.examples
    assert (example.shot, example.score, example.other_score) == ("c", 9.0, 2.0)
    assert only(one, other).shots == 0


def test_alarms_are_counted_by_the_hour_of_ten_hertz() -> None:
    summary = tally("1", {"a": [ENERGY], "b": [ENERGY]}, alarms=1).summary({}, RULES)
    assert (summary.shots, summary.anomalous, summary.alarms) == (4, 2, 1)
    assert summary.anomalous_per_hour == pytest.approx(18_000)
    assert summary.alarms_per_hour == pytest.approx(9_000)
    assert summary.shots_per_second == pytest.approx(2)
    assert summary.scores["1"] == 9.0


def test_labels_count_for_shots_that_were_replayed_and_kinds_that_a_model_finds() -> None:
    labels = {
        "a": ShotLabels(confirmed=frozenset({HOT_SPOT, AnomalyKind.BLACK_FRAME})),
        "b": ShotLabels(confirmed=frozenset({ENERGY})),
        "c": ShotLabels(false=frozenset({POINTING})),
        "elsewhere": ShotLabels(confirmed=frozenset({ENERGY})),
    }
    summary = tally("1", {"a": [HOT_SPOT], "c": [POINTING]}).summary(labels, RULES)
    assert (summary.labels.confirmed, summary.labels.found) == (2, 1)
    assert (summary.labels.false, summary.labels.repeated) == (1, 1)


def test_of_no_shots_there_is_nothing_to_report() -> None:
    summary = VersionTally("1").summary({}, RULES)
    assert (summary.shots, summary.alarms_per_hour, summary.shots_per_second) == (0, 0.0, 0.0)
    assert summary.scores == {}
