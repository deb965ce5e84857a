"""Feedback: the newest statement of each sort counts, in whatever order they are read."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shotwatch_shots.event import Anomaly, AnomalyEvent, ModelRef
from shotwatch_shots.feedback import (
    ShotLabels,
    Snooze,
    Standing,
    Statement,
    active_snoozes,
    newest_verdicts,
    shot_labels,
    standing,
    standings,
)
from shotwatch_shots.identity import statement_id
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction, Phase, Severity

from .shots import judged_shot

HERE = ShotSeries.parse("LA-A1-11-100ms")
SHOT = judged_shot("shot", HERE, 1000)
THERE = HERE.model_copy(update={"place": Place.parse("LB-A1-11")})
ACKNOWLEDGED, SNOOZED, FALSE, CONFIRMED = FeedbackAction


def event(
    id_: str = "first",
    incident: str = "first",
    shot: str = "shot",
    kind: AnomalyKind = AnomalyKind.HOT_SPOT,
    series: ShotSeries = HERE,
) -> AnomalyEvent:
    anomaly = Anomaly(
        sequence=1,
        shot=shot,
        revision=2,
        time=1000,
        place=series.place,
        interval=series.interval,
        kind=kind,
        severity=Severity.WARNING,
        devices=["camera"],
        score=8,
        threshold=4,
        why="a spot",
        contributions=[],
        evidence=[],
        image_url=None,
        residual_url=None,
        model=ModelRef(name="shotwatch", version="3", run_id=""),
        incident=incident,
        phase=Phase.OPENED,
        since=1000,
        until=1000,
        shots=1,
        supersedes=[],
        trace_id="",
    )
    return AnomalyEvent(id=id_, source="/", subject=shot, time="", trace_parent="", data=anomaly)


def expected(action: FeedbackAction, at: int, about: AnomalyEvent | None = None, **more: Any) -> Statement:
    given = {"action": action, "who": "amelie", "at": at, "caller": "shift-a", **more}
    return Statement.about(about or event(), **given)


def test_a_statement_holds_what_the_event_was_about() -> None:
    statement = expected(ACKNOWLEDGED, 5)
    about = (statement.event, statement.shot, statement.revision, statement.time, statement.kind)
    assert about == ("first", "shot", 2, 1000, AnomalyKind.HOT_SPOT)
    assert (statement.place, statement.interval) == (HERE.place, HERE.interval)
    assert (statement.devices, statement.model) == (("camera",), "3")


def test_what_is_confirmed_without_a_label_is_what_the_event_states() -> None:
    assert expected(CONFIRMED, 1).label is AnomalyKind.HOT_SPOT
    assert expected(CONFIRMED, 1, label=AnomalyKind.POINTING).label is AnomalyKind.POINTING
    assert expected(FALSE, 1).label is None


def test_the_same_statement_has_the_same_id_and_another_one_another() -> None:
    first = expected(CONFIRMED, 1, note="seen")
    assert first.id == expected(CONFIRMED, 1, note="seen").id
    others = (
        expected(FALSE, 1, note="seen"),
        expected(CONFIRMED, 2, note="seen"),
        expected(CONFIRMED, 1, note="seen", label=AnomalyKind.POINTING),
        expected(CONFIRMED, 1, note="seen", who="bruno"),
        expected(CONFIRMED, 1, note="seen", caller="shift-b"),
        expected(CONFIRMED, 1, note="seen", about=event("second")),
    )
    assert len({first.id, *(other.id for other in others)}) == 7


def test_a_statement_of_before_callers_were_kept_has_the_id_that_it_had() -> None:
    old = expected(FALSE, 1, caller="").model_dump(mode="json")
    del old["caller"]
    digest = statement_id("first", FALSE, None, None, "amelie", "", 1)
    assert Statement.model_validate(old).id == digest


def test_about_what_nobody_spoke_of_nothing_stands() -> None:
    assert standing([]) == Standing()


def test_the_newest_of_each_sort_stands() -> None:
    assert standing(
        [
            expected(FALSE, 1),
            expected(ACKNOWLEDGED, 2),
            expected(SNOOZED, 3, until=100),
            expected(CONFIRMED, 4, label=AnomalyKind.POINTING),
            expected(ACKNOWLEDGED, 5, who="bruno", caller="shift-b"),
            expected(SNOOZED, 6, until=50),
        ]
    ) == Standing("bruno", 50, CONFIRMED, AnomalyKind.POINTING, "shift-b")


def test_a_false_alarm_takes_back_a_label() -> None:
    assert standing([expected(CONFIRMED, 1), expected(FALSE, 2)]) == Standing(verdict=FALSE)


statements = st.builds(
    expected,
    st.sampled_from(FeedbackAction),
    st.integers(0, 5),
    until=st.integers(0, 10),
    who=st.sampled_from(["amelie", "bruno"]),
)


@given(st.lists(statements, max_size=8).flatmap(lambda made: st.tuples(st.just(made), st.permutations(made))))
def test_the_order_of_reading_changes_nothing(both: tuple[list[Statement], list[Statement]]) -> None:
    made, read = both
    assert standing(read) == standing(made)
    assert active_snoozes(read, 5) == active_snoozes(made, 5)
    assert shot_labels([SHOT], read, {}) == shot_labels([SHOT], made, {})


def test_an_incident_stands_as_feedback_on_any_of_its_events() -> None:
    opened, updated, other = event("first"), event("second"), event("third", incident="third")
    found = standings(
        [expected(ACKNOWLEDGED, 1, opened), expected(FALSE, 2, updated), expected(CONFIRMED, 3, other)]
    )
    assert found == {
        "first": Standing("amelie", verdict=FALSE, acknowledged_caller="shift-a"),
        "third": Standing(verdict=CONFIRMED, label=AnomalyKind.HOT_SPOT),
    }


def test_a_snooze_lasts_until_its_end() -> None:
    snoozed = [expected(SNOOZED, 1, until=100)]
    assert active_snoozes(snoozed, 99) == [Snooze(HERE, AnomalyKind.HOT_SPOT, 100)]
    assert active_snoozes(snoozed, 100) == []


def test_a_shorter_snooze_of_the_same_kind_and_place_ends_a_longer_one() -> None:
    elsewhere = event("other", series=THERE)
    pointing = event("pointing", kind=AnomalyKind.POINTING)
    snoozed = [
        expected(SNOOZED, 1, until=100),
        expected(SNOOZED, 1, elsewhere, until=100),
        expected(SNOOZED, 1, pointing, until=100),
        expected(SNOOZED, 2, event("later"), until=10),
    ]
    assert active_snoozes(snoozed, 50) == [
        Snooze(THERE, AnomalyKind.HOT_SPOT, 100),
        Snooze(HERE, AnomalyKind.POINTING, 100),
    ]


def test_a_shot_is_labelled_by_the_newest_verdict_on_each_of_its_events() -> None:
    spot, pointing = event("spot"), event("pointing", kind=AnomalyKind.POINTING)
    other = event("other", shot="another shot")
    shots = [SHOT, replace(SHOT, id="another shot"), replace(SHOT, id="a third one")]
    verdicts = [
        expected(CONFIRMED, 1, spot),
        expected(FALSE, 2, spot),
        expected(CONFIRMED, 3, pointing, label=AnomalyKind.BEAM_SIZE),
        expected(ACKNOWLEDGED, 4, spot),
        expected(CONFIRMED, 5, other),
    ]
    assert shot_labels(shots, verdicts, {}) == {
        "shot": ShotLabels(
            confirmed=frozenset({AnomalyKind.BEAM_SIZE}), false=frozenset({AnomalyKind.HOT_SPOT})
        ),
        "another shot": ShotLabels(confirmed=frozenset({AnomalyKind.HOT_SPOT})),
    }


def test_a_verdict_on_an_incident_is_one_on_every_shot_that_shows_it() -> None:
    spans = {"lasting": (1000, 9000)}
    both = ("hot_spot", "pointing")
    shots = [
        judged_shot("in the middle", HERE, 5000, both),
        judged_shot("the last one", HERE, 9000, both),
        judged_shot("before", HERE, 999, both),
        judged_shot("after", HERE, 9001, both),
        judged_shot("anomalous otherwise", HERE, 5000, ("pointing",)),
        judged_shot("elsewhere", ShotSeries.parse("LA-A1-99-100ms"), 5000, both),
    ]
    opened = event("opened", incident="lasting", shot="the first one")
    confirmed = shot_labels(shots, [expected(CONFIRMED, 1, opened, label=AnomalyKind.BEAM_SIZE)], spans)
    shown = ShotLabels(confirmed=frozenset({AnomalyKind.BEAM_SIZE}))
    assert confirmed == {"in the middle": shown, "the last one": shown}
    taken_back = shot_labels(shots, [expected(CONFIRMED, 1, opened), expected(FALSE, 2, opened)], spans)
    assert taken_back["in the middle"] == ShotLabels(false=frozenset({AnomalyKind.HOT_SPOT}))


def test_feedback_corrects_what_was_found() -> None:
    labels = ShotLabels(frozenset({AnomalyKind.BEAM_SIZE}), frozenset({AnomalyKind.HOT_SPOT}))
    assert labels.corrected(["hot_spot", "energy"]) == [AnomalyKind.ENERGY, AnomalyKind.BEAM_SIZE]


def test_an_incident_counts_once_however_many_of_its_events_were_judged() -> None:
    verdicts = [
        expected(FALSE, 1, event("first")),
        expected(FALSE, 2, event("second")),
        expected(ACKNOWLEDGED, 3),
    ]
    (counted,) = newest_verdicts(verdicts, lambda each: each.incident)
    assert counted.event == "second"
