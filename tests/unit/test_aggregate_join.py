"""The join does not depend on the order, the repetition or the number of files."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import bson
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymongo.errors import DocumentTooLarge

from shotwatch_aggregate.domain.join import (
    admit,
    batch_of,
    close,
    close_due,
    complete,
    due_shots,
    takes,
    without_record_before,
)
from shotwatch_aggregate.domain.split import SplitRecords, WindowRecords, nothing_of, split
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.windows import NEVER, Windows, from_document, to_document
from shotwatch_shots.batch import ABSENT
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval
from shotwatch_shots.identity import block_key
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import instant
from shotwatch_shots.reconciliation.sides import JoinedRows
from shotwatch_shots.records import BlockRef, JudgedRecords
from shotwatch_shots.window import RecordSource, Window
from tests.support.database import DatabaseInMemory

TEN_HZ = Interval("100ms", lateness_s=20, tolerance_ms=50)
INTERVALS = {TEN_HZ.name: TEN_HZ}
START = 1_656_660_780_000
DAY = instant(START)
PLACE = Place.parse("LA-A1-11")
EXPECTED = {
    "camera": DeviceKind.CAMERA,
    "meter": DeviceKind.ENERGY_METER,
    "spectro": DeviceKind.SPECTRO,
}


def source(device: str, arrived_at: int = 1, key: str | None = None) -> RecordSource:
    key = key or device
    return RecordSource(block(f"block of {key}", f"{key}@{arrived_at}", key), arrived_at, "")


def block(key: str, object_id: str, object_key: str) -> BlockRef:
    return BlockRef(bucket="blocks", key=key, object_id=object_id, object_key=object_key)


def judged(
    device: str,
    origin: RecordSource,
    times: Sequence[int] | NDArray[np.int64],
    verdicts: Sequence[int] | NDArray[np.int64] = (),
    reasons: Sequence[str] = ("black_frame",),
) -> JudgedRecords:
    """Records of a device that is ON, valid if not stated otherwise."""
    return JudgedRecords(
        device=device,
        kind=EXPECTED[device],
        series=ShotSeries(place=PLACE, interval=TEN_HZ.name),
        block=origin.block,
        times=np.array(times, np.int64),
        states=["ON"],
        state=[0] * len(times),
        reasons=list(reasons),
        verdict=np.array(verdicts if len(verdicts) else [0] * len(times), np.int64),
    )


def split_times(
    device: str, times: list[int], origin: RecordSource | None = None, verdicts: list[int] | None = None
) -> SplitRecords:
    origin = origin or source(device)
    return split(judged(device, origin, times, verdicts or ()), origin, TEN_HZ, "ON")


def records(
    device: str, pulses: list[int], origin: RecordSource | None = None, verdicts: list[int] | None = None
) -> WindowRecords:
    """Records at these pulses of the first window, a few ms off."""
    times = [START + 100 * pulse + (7 * pulse) % 40 - 20 for pulse in pulses]
    return split_times(device, times, origin, verdicts).by_window[START]


def empty() -> Window:
    return Window.empty(PLACE, TEN_HZ, START)


def arrive(window: Window, part: WindowRecords) -> Window:
    after = admit(window, part)
    return close(after, due_shots(window, after, EXPECTED))[0]


def joined(*parts: WindowRecords) -> Window:
    return reduce(arrive, parts, empty())


def test_ten_shots_of_one_second_stay_ten_shots() -> None:
    window = joined(*(records(device, list(range(10))) for device in EXPECTED))
    assert window.revision[:10].tolist() == [1] * 10
    assert not window.revision[10:].any()
    assert complete(window, EXPECTED)[:10].all()


def test_a_shot_is_open_until_every_expected_device_has_reported() -> None:
    window = joined(records("camera", [0, 1]), records("meter", [0, 1]))
    assert window.open[:2].all()
    assert not window.revision.any()


def test_a_pulse_that_a_file_passed_over_closes_as_incomplete() -> None:
    window = joined(records("camera", [0, 1, 2]), records("meter", [0, 2]), records("spectro", [0, 1, 2]))
    assert window.revision[:3].tolist() == [1, 1, 1]
    assert complete(window, EXPECTED)[:3].tolist() == [True, False, True]


def test_the_pulse_after_a_files_last_record_waits_for_the_next_file() -> None:
    window = joined(records("camera", [0, 1]), records("meter", [0]), records("spectro", [0, 1]))
    assert window.revision[:2].tolist() == [1, 0]
    closed, batch = close(window, window.open)
    assert batch is not None
    assert batch.slots.tolist() == [1]
    assert closed.revision[:2].tolist() == [1, 1]


def test_a_refused_record_counts_as_reported_but_does_not_complete_a_shot() -> None:
    window = joined(records("camera", [0], verdicts=[1]), records("meter", [0]), records("spectro", [0]))
    assert window.revision[0] == 1
    assert not complete(window, EXPECTED)[0]


def test_a_late_member_closes_its_shot_again_with_the_next_revision() -> None:
    window = joined(records("camera", [0]), records("meter", [0]))
    window, _ = close(window, window.open)
    window = arrive(window, records("spectro", [0]))
    assert window.revision[0] == 2
    assert complete(window, EXPECTED)[0]


def test_the_same_file_again_changes_nothing() -> None:
    window = joined(*(records(device, [0, 1]) for device in EXPECTED))
    assert arrive(window, records("camera", [0, 1])) is window


def test_a_file_sent_again_replaces_all_that_was_known_from_it() -> None:
    window = joined(*(records(device, [0, 1, 2]) for device in EXPECTED))
    resent = source("camera", arrived_at=2)
    window = arrive(window, records("camera", [0, 2], resent))
    assert window.revision[:3].tolist() == [2, 2, 2]
    assert complete(window, EXPECTED)[:3].tolist() == [True, False, True]


def test_a_file_sent_again_leaves_a_window_that_it_no_longer_covers() -> None:
    before = joined(*(records(device, [3]) for device in EXPECTED))
    later = source("camera", arrived_at=2)
    left = arrive(before, nothing_of("camera", EXPECTED["camera"], later))
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
    origin = source("camera")
    parts = split(judged("camera", origin, [START + 30]), origin, tight, "ON")
    assert parts.off_grid == [0]
    assert not parts.by_window


def test_a_file_over_the_minute_fills_two_windows() -> None:
    parts = split_times("camera", [START + 59_900, START + 60_000])
    assert {start: r.slot.tolist() for start, r in parts.by_window.items()} == {
        START: [599],
        START + 60_000: [0],
    }


def test_a_window_survives_its_document() -> None:
    window = joined(*(records(device, [0, 3]) for device in EXPECTED))
    _, closing = close(window, window.occupied)
    assert closing is not None
    batch = batch_of(closing, EXPECTED, (), last_arrival=1)
    window = replace(window, outbox={batch.batch_id: batch}, traceparent="00-1-2-01")
    again = from_document(to_document(window), INTERVALS.__getitem__)
    assert to_document(again) == to_document(window)
    assert (again.outbox, again.traceparent) == (window.outbox, window.traceparent)


def refused_for(device: str, reasons: list[str], origin: RecordSource | None = None) -> WindowRecords:
    """Records at the first pulses of the first window, each refused for a reason of its own."""
    n = len(reasons)
    times = START + 100 * np.arange(n, dtype=np.int64)
    origin = origin or source(device)
    parts = split(judged(device, origin, times, np.arange(1, n + 1), reasons), origin, TEN_HZ, "ON")
    return parts.by_window[START]


def test_seventy_thousand_reasons_never_make_a_record_valid_and_stay_few_in_the_window() -> None:
    window = empty()
    for version in range(1, 118):
        reasons = [f"state_not_on: STATE {600 * version + n}" for n in range(600)]
        window = admit(window, refused_for("meter", reasons, source("meter", version)))
        stored = from_document(to_document(window), INTERVALS.__getitem__).devices["meter"]
        assert stored.verdict.min() > 0
        assert len(stored.reasons) == 65
        assert {reason.partition(":")[0] for reason in stored.reasons} == {"state_not_on"}
        assert stored.reasons[stored.verdict[0] - 1] == reasons[0]
        assert stored.reasons[stored.verdict[599] - 1] == "state_not_on"


def test_a_window_counts_only_the_reasons_of_the_records_that_it_holds() -> None:
    window = admit(empty(), refused_for("meter", ["black_frame: a", "no_energy: b"]))
    window = admit(window, refused_for("meter", ["no_energy: b"], source("meter", 2)))
    columns = window.devices["meter"]
    assert columns.reasons == ("no_energy: b",)
    assert columns.verdict[:3].tolist() == [1, 0, 0]


def test_a_file_of_another_name_that_replaces_records_replaces_their_reasons() -> None:
    window = admit(empty(), refused_for("meter", ["black_frame: a", "no_energy: b"]))
    window = admit(window, records("meter", [0], source("meter", 2, "another file")))
    columns = window.devices["meter"]
    assert columns.reasons == ("no_energy: b",)
    assert columns.verdict[:3].tolist() == [0, 1, 0]


def test_reasons_that_are_replaced_leave_room_for_the_details_of_those_that_replace_them() -> None:
    window = admit(empty(), refused_for("meter", [f"no_energy: {n}" for n in range(600)]))
    later = [f"out_of_range: {n % 10}" for n in range(600)]
    window = admit(window, refused_for("meter", later, source("meter", 2, "another file")))
    assert sorted(window.devices["meter"].reasons) == sorted(set(later))


def test_a_code_that_does_not_fit_is_an_error_and_not_another_code() -> None:
    columns = admit(empty(), records("camera", [0])).devices["camera"]
    window = empty().with_device("camera", replace(columns, source=columns.source + 70_000))
    with pytest.raises(OverflowError, match="70000"):
        to_document(window)


def test_a_window_that_was_stored_with_narrower_codes_can_be_read() -> None:
    document = to_document(joined(records("camera", [0, 3], verdicts=[0, 1])))
    (device,) = document["devices"]
    wide = np.frombuffer(device["verdict"], "<i4")
    device["verdict"] = wide.astype("<i2").tobytes()
    assert from_document(document, INTERVALS.__getitem__).devices["camera"].verdict.tolist() == wide.tolist()


def split_file(device: str, times: NDArray[np.int64], interval: Interval) -> SplitRecords:
    origin = source(device, key=f"{device} {times[0]}")
    return split(judged(device, origin, times), origin, interval, "ON")


@pytest.mark.parametrize("period", [100, 1000])
@pytest.mark.parametrize(("phase", "pulses_late"), [(0.5, 0), (-0.5, -1), (0.35, 0), (-0.15, 0)])
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_shots_of_several_minutes_have_both_meters_whatever_the_phase_of_one(
    period: int, phase: float, pulses_late: int, seed: int
) -> None:
    """Its jitter is 5 % of the period (1σ); files come in any order."""
    random = np.random.default_rng(seed)
    interval = Interval(f"{period}ms", lateness_s=20, tolerance_ms=period // 2)
    files = []
    for minute in range(4):
        pulses = START + 60_000 * minute + np.arange(0, 60_000, period)
        deviation = phase + 0.05 * random.standard_normal(len(pulses)).clip(-4, 4)
        late = pulses + np.rint(period * deviation).astype(np.int64)
        files += [split_file("camera", pulses, interval), split_file("meter", late, interval)]
    assert not any(file.second_samples or file.off_grid for file in files)
    windows: dict[int, Window] = {}
    for n in random.permutation(len(files)):
        for start, part in files[n].by_window.items():
            windows[start] = admit(windows.get(start, Window.empty(PLACE, interval, start)), part)
    cameras, meters = pulses_of("camera", windows), pulses_of("meter", windows)
    assert len(cameras) == 4 * 60_000 // period
    assert meters == [pulse + period * pulses_late for pulse in cameras]


def pulses_of(device: str, windows: dict[int, Window]) -> list[int]:
    found = [w.pulses[w.devices[device].present] for w in windows.values() if device in w.devices]
    return sorted(np.concatenate(found).tolist())


def unexpected(n: int) -> WindowRecords:
    return replace(records("meter", [0], source(f"file {n}")), device=f"unexpected {n}")


def test_a_window_takes_its_own_devices_and_few_that_it_does_not_expect() -> None:
    window = empty()
    for n in range(2860):
        if takes(window, f"unexpected {n}", EXPECTED):
            window = admit(window, unexpected(n))
    assert sorted(window.devices) == sorted(f"unexpected {n}" for n in range(16))
    assert takes(window, "unexpected 3", EXPECTED)
    assert all(takes(window, device, EXPECTED) for device in EXPECTED)
    window = arrive(window, records("camera", [0]))
    assert takes(window, "meter", EXPECTED)
    assert not takes(window, "unexpected 16", EXPECTED)


SINGLE_SHOT = "LA_Camera-10-A1-11-{:03}_100ms_snapshot_2022-07-01_07-33-00.h5"


def test_a_window_has_room_for_a_file_for_each_shot_and_for_each_of_them_again() -> None:
    window = empty()
    for n in range(600):
        key = SINGLE_SHOT.format(n)
        stored = block(f"2022-07-01/{'o' * 24}/LA_A1_11-Camera_10-Camera-10.arrow", key, key)
        origin = RecordSource(stored, 1, "")
        window = admit(window, records("meter", [n], origin))
    assert window.devices["meter"].present.all(), "a file for each shot of the minute"
    again = admit(window, records("meter", [5], source("meter", 2, SINGLE_SHOT.format(5))))
    assert again.devices["meter"].sources[-1].block.object_id == f"{SINGLE_SHOT.format(5)}@2"
    assert admit(window, records("camera", [0], source("camera", 1, "any"))).devices["camera"].present[0]


LONG, SHORT = 720, 60
"""Lengths of keys: of the longer ones, 151 fit into a window; of the shorter ones, one for each shot."""


def part_of(n: int, key_length: int, pulses: Sequence[int]) -> WindowRecords:
    """Records of the camera in the n-th file that arrived."""
    return records("camera", list(pulses), nth_source(n, key_length))


def nth_source(n: int, key_length: int) -> RecordSource:
    key = f"{n:04}".ljust(key_length, "k")
    stored = block(block_key(DAY, "o" * 24, "LA_A1_11-Camera_10-Camera-10"), f"{n:04}", key)
    return RecordSource(stored, n, "")


def filled(key_length: int, files: int, pulses_of: Callable[[int], Sequence[int]]) -> Window:
    return reduce(admit, (part_of(n, key_length, pulses_of(n)) for n in range(files)), empty())


def used(window: Window, n: int) -> list[int]:
    """The pulses at which the record of the n-th file is used."""
    columns = window.devices["camera"]
    own = [index for index, source in enumerate(columns.sources) if source.arrived_at == n]
    return np.flatnonzero(np.isin(columns.source, own)).tolist()


def test_files_that_later_files_displaced_leave_the_window_when_it_has_no_room_left() -> None:
    window = filled(LONG, 151, lambda _n: range(5))
    assert len(window.devices["camera"].sources) == 151
    window = admit(window, part_of(151, LONG, range(5)))
    assert [each.arrived_at for each in window.devices["camera"].sources] == [151]
    assert {each.block.object_id: each.rows for each in window.unused} == {f"{n:04}": 5 for n in range(151)}


def test_a_file_that_comes_behind_any_number_of_others_has_all_its_records_in_the_window() -> None:
    for pulses_of in (lambda _n: range(600), lambda n: [n]):
        window = admit(filled(LONG, 160, pulses_of), part_of(160, LONG, range(600)))
        assert used(window, 160) == list(range(600))


def test_files_with_long_names_give_way_to_a_file_for_each_shot() -> None:
    window = filled(LONG, 152, lambda n: [n])
    assert len(used_by_any(window)) == 151
    window = reduce(admit, (part_of(1000 + n, SHORT, [n]) for n in range(500, 600)), window)
    assert set(range(500, 600)) <= used_by_any(window)


def used_by_any(window: Window) -> set[int]:
    return set(np.flatnonzero(window.devices["camera"].present).tolist())


def test_many_files_with_one_record_do_not_keep_out_the_file_that_holds_the_rest_of_the_minute() -> None:
    """All have long names; it arrived before them, and is joined behind them."""
    window = reduce(admit, (part_of(1 + n, LONG, [n]) for n in range(151)), empty())
    window = admit(window, part_of(0, LONG, range(600)))
    assert used(window, 0) == list(range(151, 600))
    assert sum(each.rows for each in window.unused) == 1


def test_a_file_without_room_changes_nothing_and_its_records_are_counted() -> None:
    window = filled(LONG, 151, lambda n: [2 * n, 2 * n + 1])
    after = admit(window, part_of(151, LONG, [0]))
    assert shots(after) == shots(window)
    assert [(each.device, each.block.object_id, each.rows) for each in after.unused] == [
        ("camera", "0151", 1)
    ]
    assert admit(window, part_of(151, SHORT, [0])).devices["camera"].present[0]


async def test_a_source_that_a_window_has_again_is_counted_in_the_window_only() -> None:
    windows = Windows(Database(DatabaseInMemory()))
    before = replace(filled(LONG, 151, lambda n: [n]), version=1)
    after = replace(admit(before, part_of(151, LONG, range(600))), version=2)
    assert await windows.save(before, NEVER)
    assert not await windows.save(replace(after, version=3), NEVER), "as if another replica was faster"
    assert await first_rows(windows) == [JoinedRows("0000", "camera", 1, 0, 0)]
    assert await windows.save(after, NEVER)
    assert await first_rows(windows) == [JoinedRows("0000", "camera", 0, 0, 1)]


async def first_rows(windows: Windows) -> list[JoinedRows]:
    """What the ledger's check finds of the first file."""
    block = nth_source(0, LONG).block
    return [each async for each in windows.rows([block.object_key]) if each.object_id == block.object_id]


FILES = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from([SHORT, 400, 1000]), st.sets(st.integers(0, 8), min_size=1)),
    min_size=1,
    max_size=12,
    unique_by=lambda file: file[0],
)


@given(FILES, st.randoms())
def test_whatever_arrives_each_row_is_counted_once_and_short_names_never_give_way(files, random) -> None:  # type: ignore[no-untyped-def]
    """A window of nine pulses; the oldest files come in any order, and some of them twice."""
    window = Window.empty(PLACE, replace(TEN_HZ, name="6667ms"), START)
    random.shuffle(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shotwatch_aggregate.domain.join.MOST_SOURCE_BYTES", 9 * 700)
        unused: dict[str, int] = {}
        for n, length, pulses in [*files, *random.choices(files, k=3)]:
            window = admit(replace(window, unused=()), on_pulses(n, length, sorted(pulses)))
            unused |= {each.block.object_id: each.rows for each in window.unused}
            columns = window.devices["camera"]
            assert sum(each.stored_bytes for each in columns.sources) <= 9 * 700
    held = {
        each.arrived_at: int((columns.source == index).sum()) + each.displaced
        for index, each in enumerate(columns.sources)
    }
    for n, length, pulses in files:
        key = on_pulses(n, length, []).source.block.object_id
        assert held.get(n, unused.get(key)) == len(pulses)
        newer = set().union(*(later for other, _, later in files if other > n))
        if length == SHORT:
            assert pulses - newer <= set(used(window, n))


def on_pulses(n: int, key_length: int, pulses: Sequence[int]) -> WindowRecords:
    origin = nth_source(n, key_length)
    slots = np.array(pulses, np.int32)
    on = np.ones(len(slots), bool)
    return WindowRecords("camera", DeviceKind.CAMERA, origin, slots, slots, 0 * slots, (), on)


def test_the_largest_window_and_its_message_fit_into_a_document() -> None:
    """16 MiB is what databases of this protocol take."""
    longest, files = 1024, 99
    devices = [f"{n:03}".ljust(255, "x") for n in range(18 + 16)]
    window = empty()
    for device in devices:
        for n in range(files):
            key = f"{device[:3]}{n:04}".ljust(longest, "k")
            stored = block(block_key(DAY, "o" * 24, device), "o" * 24, key)
            origin = RecordSource(stored.model_copy(update={"bucket": "b" * 63}), n, "t" * 55)
            slots = np.arange(n, 600, files, dtype=np.int32)
            reasons = tuple(f"state_not_on: {n} {m} ".ljust(300, "x") for m in range(len(slots)))
            codes = np.arange(1, len(slots) + 1, dtype=np.int32)
            part = WindowRecords(
                device, DeviceKind.OTHER, origin, slots, slots, codes, reasons, np.ones(len(slots), bool)
            )
            window = admit(window, part)
    closed, batch = close(window, window.open)
    assert batch is not None
    message = batch_of(batch, EXPECTED, (), last_arrival=1)
    assert len(bson.encode(to_document(replace(closed, outbox={"batch": message})))) < 16 << 20


async def test_a_window_that_the_database_does_not_take_is_named() -> None:
    class TooSmall:
        async def insert_one(self, _document: object) -> None:
            raise DocumentTooLarge("18,000,000 bytes")

    with pytest.raises(Bug, match=r"window LA-A1-11-100ms-2022.* cannot be written: .*18,000,000 bytes"):
        await Windows(Database(defaultdict(TooSmall))).save(replace(empty(), version=1), NEVER)


@pytest.mark.parametrize("change", [{"revision": b"abc"}, {"devices": [{"device": "x"}]}, {"place": None}])
def test_a_stored_document_that_is_no_window_is_named(change: dict[str, object]) -> None:
    document = to_document(joined(records("camera", [0])))
    document = {name: value for name, value in {**document, **change}.items() if value is not None}
    with pytest.raises(Bug, match="window LA-A1-11-100ms-20220701T073300 cannot be read"):
        from_document(document, INTERVALS.__getitem__)


def test_the_message_names_who_is_missing_and_whether_it_was_on() -> None:
    window = joined(records("camera", [0, 1, 2]), records("meter", [0, 2]))
    _, batch = close(window, window.open)
    assert batch is not None
    message = batch_of(batch, EXPECTED, on_before={"spectro"}, last_arrival=1)
    by_device = {member.device: member for member in message.members}
    assert by_device["meter"].source.tolist() == [0, ABSENT, 0]
    assert by_device["meter"].on.tolist() == [True, True, True]
    assert by_device["spectro"].source.tolist() == [ABSENT] * 3
    assert by_device["spectro"].on.tolist() == [True] * 3
    assert message.complete.tolist() == [False] * 3


def test_a_device_that_is_not_expected_is_missing_from_no_shot() -> None:
    window = joined(records("camera", [0, 1, 2]), unexpected(0))
    _, batch = close(window, window.open)
    assert batch is not None
    members = batch_of(batch, EXPECTED, (), last_arrival=1).members
    [made_up] = [member for member in members if member.device == "unexpected 0"]
    assert made_up.present.tolist() == [True, False, False]
    assert made_up.on.tolist() == [True, False, False]


PARTS = st.lists(
    st.tuples(st.sampled_from(sorted(EXPECTED)), st.sets(st.integers(0, 8), min_size=1), st.integers(1, 3)),
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
            (columns.sources[s].block.object_id, int(r)) if s >= 0 else None
            for s, r in zip(columns.source, columns.row, strict=True)
        ]
        for device, columns in window.devices.items()
    }


def test_only_devices_that_had_not_reported_up_to_the_first_shot_are_asked_for_their_past() -> None:
    window = joined(records("camera", [2, 3, 4]), records("meter", [4]))
    _, batch = close(window, window.open)
    assert batch is not None
    assert sorted(without_record_before(batch, EXPECTED)) == ["meter", "spectro"]
    _, later = close(window, window.open & (np.arange(600) == 4))
    assert later is not None
    assert without_record_before(later, EXPECTED) == ["spectro"]


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
