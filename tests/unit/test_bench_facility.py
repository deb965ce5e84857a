"""The arithmetic of the whole-facility bench, on cases that can be counted by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import h5py
import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.pulses import epoch_ms
from shotwatch_simulator.simulation import Simulation
from tests.facilities import FACILITY
from tools.bench.made_files import made_files
from tools.bench.minutes import (
    ShotTimes,
    SingleShot,
    UploadedMinute,
    backlog,
    delays,
    due_s,
    judged_after_s,
    parse_pace,
    slots,
    waiting,
)
from tools.bench.single_shots import PROBE, single_shots, with_probe
from tools.bench.usage import Sample, Usage

START = datetime(2022, 7, 1, 10, tzinfo=UTC)
FIRST = UploadedMinute(0, 3, 100, began=100.0, arrived={"a": 104.0, "b": 110.0})
SECOND = UploadedMinute(60_000, 1, 100, began=160.0, arrived={"c": 163.0})
SHOTS = ShotTimes(
    pulses_ms=np.array([0, 59_999, 30_000, 60_000]),
    closed=np.array([111.0, 112.0, 112.0, 164.0]),
    judged=np.array([120.0, 119.0, 161.5, 170.0]),
)


def test_at_a_pace_of_two_a_minute_is_due_every_half_minute() -> None:
    assert [due_s(number, parse_pace("2")) for number in range(3)] == [0, 30, 60]
    assert [due_s(number, parse_pace("1.0")) for number in range(3)] == [0, 60, 120]


def test_at_the_pace_max_every_minute_is_due_at_once() -> None:
    assert [due_s(number, parse_pace("max")) for number in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "fast", ""])
def test_a_pace_is_a_positive_number_or_max(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_pace(text)


def test_an_item_waits_from_its_begin_until_before_its_end() -> None:
    begins, ends = np.array([1.0, 5.0, 2.0]), np.array([3.0, inf, 4.0])
    times = np.array([0.0, 1.0, 2.5, 3.0, 4.0, 5.0, 1e9])
    brute_force = [sum(b <= at < e for b, e in zip(begins, ends, strict=True)) for at in times]
    assert waiting(begins, ends, times).tolist() == brute_force == [0, 1, 2, 1, 0, 1, 1]


def test_the_backlog_counts_files_until_they_are_joined_and_shots_until_they_are_judged() -> None:
    joined = {"a": 111.0, "c": 164.0}
    found = backlog([FIRST, SECOND], joined, SHOTS, [103, 105, 110, 111.5, 150, 163.5, 200])
    assert found.files.tolist() == [0, 1, 2, 1, 1, 2, 1], "b is never joined"
    assert found.shots.tolist() == [0, 0, 0, 1, 1, 0, 0]


def test_a_file_that_is_joined_before_its_upload_returns_never_counts_as_less_than_nothing() -> None:
    found = backlog([SECOND], {"c": 162.9}, SHOTS, np.arange(162, 164, 0.05).tolist())
    assert found.files.tolist() == [0] * 40


def test_a_minute_is_judged_with_the_last_of_its_own_shots() -> None:
    assert judged_after_s(FIRST, SHOTS) == pytest.approx(161.5 - 110.0)
    assert judged_after_s(SECOND, SHOTS) == pytest.approx(170.0 - 163.0)


def test_the_slot_of_a_minute_ends_with_the_next_upload_and_that_of_the_last_with_the_run() -> None:
    assert slots([FIRST, SECOND], 170.0) == [(100.0, 160.0), (160.0, 170.0)]


def test_delays_are_of_the_shots_that_were_uploaded_in_the_time_and_raised_an_event() -> None:
    shots = [SingleShot(1.0, 1.5), SingleShot(2.0, 4.0), SingleShot(3.0, None), SingleShot(9.0, 9.1)]
    found = delays(shots, 1.0, 9.0)
    assert (found.shots, found.raised) == (3, 2)
    assert found.p50 == pytest.approx(1.25)
    assert found.longest == pytest.approx(2.0)
    nothing = delays(shots, 3.0, 4.0)
    assert (nothing.shots, nothing.raised) == (1, 0)
    assert nothing.p50 is None


def test_cpu_and_memory_are_of_the_asked_time_and_a_process_may_start_within_it() -> None:
    usage = Usage(
        [
            Sample(10.0, {"old": 0.0}, {"old": 50.0}, idle_s=1000.0),
            Sample(11.0, {"old": 0.5}, {}, idle_s=1000.5),
            Sample(12.0, {"old": 0.75, "new": 0.25}, {"old": 40.0, "new": 30.0}, idle_s=1001.0),
        ]
    )
    assert usage.cpu_s() == {"old": 0.75, "new": 0.25}
    assert usage.cpu_s(11.2, 12.0) == {"old": 0.25, "new": 0.25}
    assert usage.peak_mib() == {"old": 50.0, "new": 30.0}
    assert usage.peak_total_mib() == 70.0
    assert usage.peak_total_mib(10.0, 11.0) == 50.0


def test_a_single_shot_has_a_file_of_one_record_for_each_device_of_the_probe(tmp_path: Path) -> None:
    facility = load_facility(with_probe(FACILITY, tmp_path))
    shots = single_shots(facility, PROBE, START, 2, 1, tmp_path / "cache")
    assert [pulse for pulse, _ in shots] == [epoch_ms(START), epoch_ms(START) + 20_000]
    for pulse, members in shots:
        names = [facility.file_name(upload.key) for upload in members]
        assert [name and epoch_ms(name.starts_at) for name in names] == [pulse] * 3
        for upload in members:
            with h5py.File(upload.path) as file:
                assert len(file) == 1


def test_files_are_made_once_for_the_same_arguments(tmp_path: Path) -> None:
    facility, cache = load_facility(FACILITY), tmp_path / "cache"
    simulation = Simulation(facility, facility.places[-1:], START, timedelta(minutes=1), seed=1)
    before = {path: path.stat().st_mtime_ns for path in made_files(simulation, cache)}
    assert len(before) == len(facility.places[-1].devices)
    assert {path: path.stat().st_mtime_ns for path in made_files(simulation, cache)} == before
    assert not set(made_files(replace(simulation, seed=2), cache)) & set(before)
    assert len(list(cache.iterdir())) == 2, "nothing lies beside the two finished folders"
