"""Verdicts: the state first, then what could be read, then the data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.device_kinds import DeviceKind, Digest, EnergyDigest, ImageDigest, SpectrumDigest
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef, DeviceRecords, RecordProblem
from shotwatch_shots.vocabulary import RecordReason
from shotwatch_validate.domain.judge import judge, last_fingerprint

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
CAMERA = "LA_A1_11-Camera_1-Camera-1"
SPECTRO = "LA_A2-Spectro_1-Spectro-1"
METER = "LA_A3_31-EM_1-EnergyMeter-1"
PIXELS = 102 * 128
NAN = np.nan
BLOCK = BlockRef(bucket="blocks", key="b", object_id="o", object_key="k")
SERIES = ShotSeries.parse("LA-A1-11-100ms")


def frames(*rows: tuple[float, float, int, int]) -> ImageDigest:
    """Minimum, maximum, saturated pixels and fingerprint of each frame."""
    minimum, maximum, saturated, fingerprint = np.array(rows).T
    return ImageDigest(minimum=minimum, maximum=maximum, saturated=saturated, fingerprint=fingerprint)


def good_frames(count: int) -> ImageDigest:
    return frames(*((100, 3000, 0, n + 1) for n in range(count)))


def energies(*pairs: tuple[float, float]) -> EnergyDigest:
    first, second = np.array(pairs).T
    return EnergyDigest(energy1=first, energy2=second)


def problem_of(row: int, reason: str, detail: str) -> RecordProblem:
    return RecordProblem(row=row, reason=RecordReason(reason), detail=detail)


def on(
    device: str,
    digest: Digest | None,
    count: int,
    states: Sequence[str] = ("ON",),
    state: Sequence[int] | None = None,
    problems: Sequence[RecordProblem] = (),
) -> DeviceRecords:
    """Records of a device that is ON, if not stated otherwise."""
    return DeviceRecords(
        device=device,
        kind=DeviceKind.OTHER,
        series=SERIES,
        block=BLOCK,
        times=np.arange(count),
        states=list(states),
        state=np.zeros(count, int) if state is None else np.array(state),
        problems=list(problems),
        digest=digest,
    )


def verdicts(records: DeviceRecords, previous: int | None = None) -> list[str | None]:
    """The reason of each record, without its detail; None for good ones."""
    return [text and text.partition(":")[0] for text in texts(records, previous)]


def texts(records: DeviceRecords, previous: int | None = None) -> list[str | None]:
    judgement = judge(records, FACILITY, previous)
    return [judgement.reasons[n - 1] if n else None for n in judgement.verdict]


class TestState:
    def test_seventy_thousand_states_are_all_refused_for_few_reasons(self):
        states = (*(f"STATE {n}" for n in range(69_999)), "FAULT")
        records = on(METER, energies(*[(1.0, 1.0)] * 70_000), 70_000, states=states, state=range(70_000))
        judgement = judge(records, FACILITY)
        assert judgement.verdict.min() > 0
        assert len(judgement.reasons) == 65
        assert judgement.reasons[judgement.verdict[-1] - 1] == "state_not_on: FAULT"

    def test_seventy_thousand_problems_are_all_refused_for_few_reasons(self):
        problems = tuple(problem_of(n, "wrong_shape", f"({n},)") for n in range(70_000))
        records = on(METER, energies(*[(1.0, 1.0)] * 70_000), 70_000, problems=problems)
        judgement = judge(records, FACILITY)
        assert judgement.verdict.min() > 0
        assert len(judgement.reasons) == 65

    def test_a_device_that_is_on_is_judged_by_its_data(self):
        assert verdicts(on(CAMERA, good_frames(3), 3)) == [None] * 3

    def test_any_other_state_is_reported(self):
        records = on(CAMERA, good_frames(3), 3, states=("FAULT", "ON", "STANDBY"), state=[1, 0, 2])

        assert texts(records) == [None, "state_not_on: FAULT", "state_not_on: STANDBY"]

    def test_a_missing_state_is_reported_with_what_reading_found(self):
        problem = problem_of(2, "state_missing", "STATE holds text")
        records = on(CAMERA, good_frames(3), 3, state=[0, -1, -1], problems=(problem,))

        assert texts(records) == [None, "state_missing", "state_missing: STATE holds text"]

    def test_the_state_counts_before_the_data(self):
        black_and_unreadable = frames((0, 0, 0, 5), (0, 0, 0, 6))
        problems = (problem_of(0, "wrong_shape", "is 50 x 128"), problem_of(1, "wrong_shape", "is 50 x 128"))
        records = on(CAMERA, black_and_unreadable, 2, states=("OFF",), state=[0, -1], problems=problems)

        assert verdicts(records) == ["state_not_on", "state_missing"]

    def test_devices_without_data_are_judged_by_their_state(self):
        records = on("LA_A1_11-Saga_1-Saga-1", None, 2, states=("ON", "OFF"), state=[0, 1])

        assert verdicts(records) == [None, "state_not_on"]


class TestReading:
    def test_what_could_not_be_read_is_not_judged_further(self):
        problem = problem_of(1, "wrong_shape", "ROIImageLow is 50 x 128, not 102 x 128")
        records = on(CAMERA, frames((1, 3000, 0, 7), (0, 0, 0, 0), (1, 3000, 0, 8)), 3, problems=(problem,))

        assert texts(records) == [None, "wrong_shape: ROIImageLow is 50 x 128, not 102 x 128", None]

    def test_records_with_the_same_problem_share_a_reason(self):
        problems = tuple(problem_of(n, "data_missing", "ROIImageLow is not there") for n in (0, 2))

        judgement = judge(on(CAMERA, good_frames(3), 3, problems=problems), FACILITY)

        assert judgement.reasons == ["data_missing: ROIImageLow is not there"]
        assert judgement.verdict.tolist() == [1, 0, 1]

    def test_of_two_problems_the_first_counts(self):
        problems = (problem_of(0, "data_missing", "one"), problem_of(0, "wrong_type", "two"))

        assert texts(on(METER, energies((1.0, 1.0)), 1, problems=problems)) == ["data_missing: one"]


class TestFrames:
    @pytest.mark.parametrize(("brightest", "verdict"), [(39, "black_frame"), (40, None)])
    def test_a_frame_without_a_bright_pixel_is_black(self, brightest: int, verdict: str | None):
        assert verdicts(on(CAMERA, frames((0, brightest, 0, 1)), 1)) == [verdict]

    @pytest.mark.parametrize(("share", "verdict"), [(0.0049, None), (0.0051, "saturated_frame")])
    def test_a_frame_with_many_saturated_pixels_is_saturated(self, share: float, verdict: str | None):
        assert verdicts(on(CAMERA, frames((0, 4092, round(share * PIXELS), 1)), 1)) == [verdict]

    def test_a_frame_that_repeats_is_frozen(self):
        records = on(CAMERA, frames(*((0, 3000, 0, n) for n in (7, 7, 8, 7, 7, 7))), 6)

        assert verdicts(records) == [None, "frozen_frame", None, None, "frozen_frame", "frozen_frame"]

    def test_the_first_frame_is_held_against_the_last_of_the_file_before(self):
        records = on(CAMERA, good_frames(2), 2)

        assert verdicts(records, previous=1) == ["frozen_frame", None]
        assert verdicts(records, previous=2) == [None, None]

    def test_a_frame_that_could_not_be_read_does_not_hide_a_frozen_one(self):
        problem = problem_of(1, "data_missing", "ROIImageLow is not there")
        records = on(CAMERA, frames((0, 3000, 0, 7), (0, 0, 0, 0), (0, 3000, 0, 7)), 3, problems=(problem,))

        assert verdicts(records) == [None, "data_missing", "frozen_frame"]

    def test_frames_that_could_not_be_read_are_not_frozen(self):
        problem = problem_of(0, "data_missing", "ROIImageLow is not there")
        records = on(CAMERA, frames((0, 0, 0, 0), (0, 3000, 0, 7)), 2, problems=(problem,))

        assert verdicts(records, previous=0) == ["data_missing", None]

    def test_a_black_frame_that_repeats_is_black(self):
        assert verdicts(on(CAMERA, frames((0, 3, 0, 9), (0, 3, 0, 9)), 2)) == ["black_frame"] * 2

    def test_a_saturated_frame_that_repeats_is_saturated(self):
        assert verdicts(on(CAMERA, frames(*[(0, 4092, PIXELS, 9)] * 2), 2)) == ["saturated_frame"] * 2

    def test_counts_beyond_the_cameras_range_are_reported(self):
        assert texts(on(CAMERA, frames((0, 4093, 1, 9)), 1)) == [
            "out_of_range: ROIImageLow is outside 0..4092 counts"
        ]

    def test_the_last_frame_that_could_be_read_is_remembered(self):
        problem = problem_of(2, "data_missing", "ROIImageLow is not there")

        assert last_fingerprint(on(CAMERA, good_frames(3), 3, problems=(problem,))) == 2
        alone = problem_of(0, problem.reason, problem.detail)
        assert last_fingerprint(on(CAMERA, good_frames(1), 1, problems=(alone,))) is None
        assert last_fingerprint(on(METER, energies((1.0, 1.0)), 1)) is None

    @given(st.lists(st.integers(1, 3), min_size=2, max_size=30), st.integers(1, 29))
    def test_a_sequence_cut_in_two_files_is_judged_as_if_it_were_whole(self, prints: list[int], cut: int):
        cut = min(cut, len(prints) - 1)

        def part(fingerprints: list[int]) -> DeviceRecords:
            return on(CAMERA, frames(*((0, 3000, 0, n) for n in fingerprints)), len(fingerprints))

        first, second = part(prints[:cut]), part(prints[cut:])

        assert verdicts(part(prints)) == verdicts(first) + verdicts(second, last_fingerprint(first))


class TestSpectra:
    @pytest.mark.parametrize(
        ("minimum", "maximum", "total", "verdict"),
        [
            (0.0, 100.0, 5000.0, None),
            (0.0, 0.0, 0.0, "no_spectrum"),
            (-9.0, 1.0, -3.0, "no_spectrum"),
            (NAN, NAN, NAN, "not_finite"),
            (0.0, 2.0e7, 3.0e7, "out_of_range"),
            (-2.0e4, 1.0e5, 3.0e7, "out_of_range"),
        ],
    )
    def test_a_spectrum_needs_light_in_range(
        self, minimum: float, maximum: float, total: float, verdict: str | None
    ):
        spectra = SpectrumDigest(minimum=[minimum], maximum=[maximum], total=[total])

        assert verdicts(on(SPECTRO, spectra, 1)) == [verdict]


class TestEnergies:
    @pytest.mark.parametrize(
        ("first", "second", "verdict"),
        [
            (1.0, 2.0, None),
            (1.0, 0.0, None),
            (NAN, 2.0, None),
            (0.0, 0.0, "no_energy"),
            (NAN, NAN, "no_energy"),
            (NAN, 0.0, "no_energy"),
            (-0.1, -0.1, "no_energy"),
            (1001.0, 2.0, "out_of_range"),
            (2.0, -1.5, "out_of_range"),
        ],
    )
    def test_one_of_the_energies_must_be_positive_and_both_in_range(
        self, first: float, second: float, verdict: str | None
    ):
        assert verdicts(on(METER, energies((first, second)), 1)) == [verdict]


class TestMessages:
    def message(self, device: str, kind: DeviceKind, digest: Any) -> DeviceRecords:
        return DeviceRecords(
            device=device, kind=kind, series=SERIES, block=BLOCK, times=[1, 2], states=["ON"],
            state=[0, -1], problems=[problem_of(1, "state_missing", "STATE is empty")],
            digest=digest,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("device", "kind", "digest"),
        [
            (CAMERA, DeviceKind.CAMERA,
             ImageDigest(minimum=[0, 0], maximum=[9, 900], saturated=[0, 0], fingerprint=[1, 2])),
            (SPECTRO, DeviceKind.SPECTRO,
             SpectrumDigest(minimum=[None, 0], maximum=[None, 1], total=[None, 5])),
            (METER, DeviceKind.ENERGY_METER, EnergyDigest(energy1=[None, 1], energy2=[0, 1])),
        ],
    )  # fmt: skip
    def test_a_message_as_it_arrives_is_judged_and_passed_on(
        self, device: str, kind: DeviceKind, digest: Any
    ):
        sent = self.message(device, kind, digest)
        arrived = DeviceRecords.model_validate_json(sent.model_dump_json())

        judged = judge(arrived, FACILITY)

        assert judged.verdict.tolist() == [2, 1]
        reasons = {CAMERA: "black_frame", SPECTRO: "not_finite", METER: "no_energy"}
        assert judged.reasons[0] == "state_missing: STATE is empty"
        assert judged.reasons[1].startswith(reasons[device])
        columns = {"device", "kind", "series", "block", "times", "states", "state"}
        assert judged.model_dump(include=columns) == sent.model_dump(include=columns)

    def test_devices_without_data_pass_too(self):
        sent = self.message("LA_A1_11-Saga_1-Saga-1", DeviceKind.OTHER, None)

        assert judge(sent, FACILITY).verdict.tolist() == [0, 1]
