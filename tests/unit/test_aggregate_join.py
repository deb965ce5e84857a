"""The join does not depend on the order, the repetition or the number of files."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_aggregate.documents import from_document, to_document, to_message
from shotwatch_aggregate.domain.join import Split, admit, close, close_due, complete, nothing_of, ripe, split
from shotwatch_aggregate.domain.window import Records, Source, Window
from shotwatch_common.contracts import ABSENT
from shotwatch_common.facility import Interval, Place
from shotwatch_common.vocabulary import DeviceKind

TEN_HZ = Interval("100ms", lateness_s=20, tolerance_ms=50)
START = 1_656_660_780_000
PLACE = Place("LA", "A1", "11")
ROSTER = {
    "camera": DeviceKind.CAMERA,
    "meter": DeviceKind.ENERGY_METER,
    "spectro": DeviceKind.SPECTRO,
}


def source(device: str, arrived_at: int = 1, key: str | None = None) -> Source:
    key = key or device
    return Source("blocks", f"block of {key}", f"{key}@{arrived_at}", key, arrived_at, "")


def split_times(
    device: str, times: list[int], origin: Source | None = None, verdicts: list[int] | None = None
) -> Split:
    n = len(times)
    return split(
        device,
        ROSTER[device],
        origin or source(device),
        TEN_HZ,
        np.array(times, np.int64),
        np.array(verdicts or [0] * n, np.int32),
        ("black_frame",),
        np.ones(n, bool),
    )


def records(
    device: str, pulses: list[int], origin: Source | None = None, verdicts: list[int] | None = None
) -> Records:
    """Records at these pulses of the first window, a few ms off."""
    times = [START + 100 * pulse + (7 * pulse) % 40 - 20 for pulse in pulses]
    return split_times(device, times, origin, verdicts).by_window[START]


def empty() -> Window:
    return Window.empty(PLACE, TEN_HZ, START)


def arrive(window: Window, part: Records) -> Window:
    after = admit(window, part)
    return close(after, ripe(window, after, ROSTER))[0]


def joined(*parts: Records) -> Window:
    return reduce(arrive, parts, empty())


def test_ten_shots_of_one_second_stay_ten_shots() -> None:
    window = joined(*(records(device, list(range(10))) for device in ROSTER))
    assert window.revision[:10].tolist() == [1] * 10
    assert not window.revision[10:].any()
    assert complete(window, ROSTER)[:10].all()


def test_a_shot_is_open_until_everybody_of_the_roster_was_heard() -> None:
    window = joined(records("camera", [0, 1]), records("meter", [0, 1]))
    assert window.open[:2].all()
    assert not window.revision.any()


def test_a_pulse_that_a_file_passed_over_closes_as_incomplete() -> None:
    window = joined(records("camera", [0, 1, 2]), records("meter", [0, 2]), records("spectro", [0, 1, 2]))
    assert window.revision[:3].tolist() == [1, 1, 1]
    assert complete(window, ROSTER)[:3].tolist() == [True, False, True]


def test_the_pulse_after_a_files_last_record_waits_for_the_next_file() -> None:
    window = joined(records("camera", [0, 1]), records("meter", [0]), records("spectro", [0, 1]))
    assert window.revision[:2].tolist() == [1, 0]
    closed, batch = close(window, window.open)
    assert batch is not None
    assert batch.slots.tolist() == [1]
    assert closed.revision[:2].tolist() == [1, 1]


def test_a_refused_record_is_heard_but_does_not_complete_a_shot() -> None:
    window = joined(records("camera", [0], verdicts=[1]), records("meter", [0]), records("spectro", [0]))
    assert window.revision[0] == 1
    assert not complete(window, ROSTER)[0]


def test_a_late_member_closes_its_shot_again_with_the_next_revision() -> None:
    window = joined(records("camera", [0]), records("meter", [0]))
    window, _ = close(window, window.open)
    window = arrive(window, records("spectro", [0]))
    assert window.revision[0] == 2
    assert complete(window, ROSTER)[0]


def test_the_same_file_again_changes_nothing() -> None:
    window = joined(*(records(device, [0, 1]) for device in ROSTER))
    assert arrive(window, records("camera", [0, 1])) is window


def test_a_file_sent_again_replaces_all_that_was_known_from_it() -> None:
    window = joined(*(records(device, [0, 1, 2]) for device in ROSTER))
    resent = source("camera", arrived_at=2)
    window = arrive(window, records("camera", [0, 2], resent))
    assert window.revision[:3].tolist() == [2, 2, 2]
    assert complete(window, ROSTER)[:3].tolist() == [True, False, True]


def test_a_file_sent_again_leaves_a_window_that_it_no_longer_covers() -> None:
    before = joined(*(records(device, [3]) for device in ROSTER))
    later = source("camera", arrived_at=2)
    left = arrive(before, nothing_of("camera", ROSTER["camera"], later))
    assert not left.devices["camera"].present.any()
    assert left.revision[3] == before.revision[3] + 1
    assert arrive(left, records("camera", [3])).devices["camera"].present.any() == np.False_


def test_an_old_version_that_comes_after_the_new_one_is_ignored() -> None:
    new = source("camera", arrived_at=2)
    window = joined(records("camera", [0], new))
    assert admit(window, records("camera", [0, 1], source("camera", arrived_at=1))) is window


def test_a_second_sample_in_a_pulse_is_set_aside_for_the_nearer_one() -> None:
    parts = split_times("camera", [START + 30, START + 5, START + 110])
    assert parts.second_samples == [0]
    assert parts.by_window[START].row.tolist() == [1, 2]


def test_a_record_far_from_any_pulse_belongs_to_no_shot() -> None:
    tight = replace(TEN_HZ, tolerance_ms=10)
    parts = split(
        "camera",
        DeviceKind.CAMERA,
        source("camera"),
        tight,
        np.array([START + 30]),
        np.zeros(1, np.int32),
        (),
        np.ones(1, bool),
    )
    assert parts.off_grid == [0]
    assert not parts.by_window


def test_a_file_over_the_minute_fills_two_windows() -> None:
    parts = split_times("camera", [START + 59_900, START + 60_000])
    assert {start: r.slot.tolist() for start, r in parts.by_window.items()} == {
        START: [599],
        START + 60_000: [0],
    }


def test_a_window_survives_its_document() -> None:
    window = joined(*(records(device, [0, 3]) for device in ROSTER))
    again = from_document(to_document(window), TEN_HZ)
    assert to_document(again) == to_document(window)


def test_the_message_names_who_is_missing_and_whether_it_was_on() -> None:
    window = joined(records("camera", [0, 1, 2]), records("meter", [0, 2]))
    _, batch = close(window, window.open)
    assert batch is not None
    message = to_message(batch, ROSTER, on_before={"spectro"}, last_arrival=1)
    by_device = {member.device: member for member in message.members}
    assert by_device["meter"].source == [0, ABSENT, 0]
    assert by_device["meter"].on == [True, True, True]
    assert by_device["spectro"].source == [ABSENT] * 3
    assert by_device["spectro"].on == [True] * 3
    assert message.complete == [False] * 3


PARTS = st.lists(
    st.tuples(st.sampled_from(sorted(ROSTER)), st.sets(st.integers(0, 8), min_size=1), st.integers(1, 3)),
    min_size=1,
    max_size=6,
    unique_by=lambda part: (part[0], part[2]),
)


@given(PARTS, st.randoms())
@pytest.mark.timeout(120)
def test_the_order_of_arrival_and_repetition_change_no_shot(parts, random) -> None:  # type: ignore[no-untyped-def]
    arrivals = [
        records(device, sorted(pulses), source(device, version, f"{device}-{version}"))
        for device, pulses, version in parts
    ]
    shuffled = [*arrivals, *random.choices(arrivals, k=3)]
    random.shuffle(shuffled)
    assert shots(joined(*arrivals)) == shots(joined(*shuffled))


def shots(window: Window) -> dict[str, list[tuple[str, int] | None]]:
    """Which row of which object each device has at each pulse."""
    return {
        device: [
            (columns.sources[s].object_id, int(r)) if s >= 0 else None
            for s, r in zip(columns.source, columns.row, strict=True)
        ]
        for device, columns in window.devices.items()
    }


def test_what_is_wanted_again_is_closed_once_more_as_it_is_and_only_once() -> None:
    window, _ = close(admit(empty(), records("camera", [3, 4])), np.ones(600, bool))
    again, batch = close_due(replace(window, again=True))
    assert batch is not None
    assert batch.slots.tolist() == [3, 4]
    assert again.revision[[3, 4]].tolist() == [2, 2]
    assert again.devices is window.devices
    assert close_due(again) == (again, None)


@given(st.permutations([1, 2, 3]))
def test_every_row_of_a_file_has_its_pulse_or_is_counted_as_displaced(arrivals: list[int]) -> None:
    """Three files of a device overlap; whichever comes first, the later one has the pulse."""
    pulses = {1: [0, 1, 2, 3], 2: [2, 3, 4], 3: [3, 4, 5]}
    window = joined(*(records("camera", pulses[at], source("camera", at, f"{at}.h5")) for at in arrivals))
    columns = window.devices["camera"]
    kept = {each.arrived_at: int((columns.source == n).sum()) for n, each in enumerate(columns.sources)}
    displaced = {each.arrived_at: each.displaced for each in columns.sources}
    assert kept == {1: 2, 2: 1, 3: 3}
    assert displaced == {1: 2, 2: 2, 3: 0}
