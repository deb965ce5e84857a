"""The demo's sums: what counts as a false alarm, and what is timed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotwatch_cli.demo.figures import ReceivedEvent, false_alarms, latencies, minute_of, slow_changes
from shotwatch_cli.demo.scenario import recorded
from shotwatch_cli.failures import Failure
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.vocabulary import SLOW_CHANGES, AnomalyKind, Phase
from shotwatch_simulator.labels import Label

from .test_cli_events import event

FACILITY = load_facility(Path(__file__).resolve().parents[2] / "facilities" / "hpls.yaml")


def seen(at: float = 0.0, **expected: Any) -> ReceivedEvent:
    """A hot spot in a shot, with these differences."""
    made = event(1)
    return ReceivedEvent(made.model_copy(update={"data": made.data.model_copy(update=expected)}), at)


def test_an_event_of_a_shot_into_which_nothing_was_put_is_a_false_alarm() -> None:
    result = seen()
    (alarm,) = false_alarms([], [], [result])
    assert (alarm.shot, alarm.kind) == (result.event.subject, AnomalyKind.HOT_SPOT)
    put_in = Label("hot_spot", AnomalyKind.HOT_SPOT, 0.2, (result.event.subject,), (), ())
    assert false_alarms([put_in], [], [result]) == []


@pytest.mark.parametrize("kind", sorted(SLOW_CHANGES))
def test_a_slow_change_is_counted_apart_from_the_shot_that_it_names(kind: AnomalyKind) -> None:
    result = seen(kind=kind, why="the energy of EM-1 has been 0.9 J since 10:00")
    assert false_alarms([], [], [result]) == []
    (change,) = slow_changes([seen(), result])
    assert (change.kind, change.why) == (kind, result.event.data.why)


def test_what_begins_is_timed_from_the_end_of_its_minutes_upload_but_for_what_waits() -> None:
    uploaded = {minute_of(seen().event): 10.0}
    waits = [seen(99, kind=kind) for kind in (*SLOW_CHANGES, AnomalyKind.MISSING_MEMBER)]
    later = [seen(99, phase=phase) for phase in (Phase.UPDATED, Phase.CLOSED)]
    other_minute = seen(99, time=seen().event.data.time + 60_000)
    (of,) = latencies([seen(11), seen(13), *waits, *later, other_minute], uploaded)
    assert (of.series, of.events, of.p50, of.longest) == (seen().event.data.series, 2, 2.0, 3.0)


def test_recorded_frames_of_the_demo_state_what_was_skipped(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"x")
    with pytest.raises(Failure, match="no image with light"):
        recorded(FACILITY, tmp_path, tmp_path / "packed", 7)
    np.save(tmp_path / "frame.npy", np.eye(110, 140))
    scenario = recorded(FACILITY, tmp_path, tmp_path / "packed", 7)
    assert [file.name for file in scenario.skipped] == ["damaged.png"]
