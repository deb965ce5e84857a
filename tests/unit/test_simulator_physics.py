"""The simulated laser, and what anomalies do to what its devices record: known answers, no files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_simulator.anomalies import TRAITS, Injection, Kind
from shotwatch_simulator.devices import SimulatedLaser, simulated, stamps
from shotwatch_simulator.injections import inject
from shotwatch_simulator.noise import normal, uniform

FIRST = 1_656_660_780_000
PULSES = FIRST + 100 * np.arange(60, dtype=np.int64)
ANOMALOUS = int(PULSES[20])
CAMERA = "LA_A1_11-Camera_2-Camera-2"
SPECTRO = "LA_A1_11-Spectro_1-Spectro-1"
METER = "LA_A1_11-EM_1-EnergyMeter-1"


@pytest.fixture(scope="module")
def facility() -> Facility:
    return load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")


@pytest.fixture(scope="module")
def expected_devices(facility: Facility) -> ExpectedDevices:
    found = facility.expected_devices(ShotSeries.parse("LA-A1-11-100ms"))
    assert found is not None
    return found


def image(facility: Facility, *injections: Injection, group: str = CAMERA, seed: int = 0) -> np.ndarray:
    return simulated(SimulatedLaser(facility, seed, injections), group, PULSES)["ROIImageLow"]


def spectrum(facility: Facility, *injections: Injection) -> np.ndarray:
    data = simulated(SimulatedLaser(facility, 0, injections), SPECTRO, PULSES)["intensityFitted"]
    return data.astype(np.float64)


def meter(facility: Facility, *injections: Injection) -> tuple[np.ndarray, np.ndarray]:
    data = simulated(SimulatedLaser(facility, 0, injections), METER, PULSES)
    return data["energy1Corrected"][:, 0], data["energy2Corrected"][:, 0]


def light(frames: np.ndarray) -> np.ndarray:
    """Total intensity above the background, which is the median of the frame's edge."""
    background = np.median(frames[:, 0, :], axis=1)
    return (frames - background[:, None, None]).sum(axis=(1, 2))


def width(spectra: np.ndarray) -> np.ndarray:
    pixels, weights = np.arange(spectra.shape[1]), np.clip(spectra, 100, None) - 100
    mean = (weights * pixels).sum(axis=1) / weights.sum(axis=1)
    return np.sqrt((weights * (pixels - mean[:, None]) ** 2).sum(axis=1) / weights.sum(axis=1))


def centroid(frames: np.ndarray) -> np.ndarray:
    weights = np.clip(frames.astype(float) - 100, 0, None)
    return (weights * np.arange(frames.shape[2])).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


def others(values: np.ndarray, *anomalous: int) -> np.ndarray:
    return np.delete(values, anomalous or [20], axis=0)


def test_deviates_are_standard_normal_and_uncorrelated_from_pulse_to_pulse():
    deviates = normal(FIRST + 100 * np.arange(100_000), "a name")

    assert abs(deviates.mean()) < 0.02
    assert abs(deviates.std() - 1) < 0.02
    assert abs((deviates[1:] * deviates[:-1]).mean()) < 0.02


def test_two_names_give_two_independent_series():
    a, b = (normal(FIRST + 100 * np.arange(100_000), name) for name in "ab")

    assert abs((a * b).mean()) < 0.02


def test_uniform_numbers_exclude_both_ends():
    numbers = uniform(np.arange(100_000, dtype=np.int64), "ends")

    assert numbers.min() > 0
    assert numbers.max() < 1


def test_every_camera_of_the_facility_has_headroom_and_a_dark_edge(facility):
    for place in facility.places:
        for group in place.devices:
            if facility.device_type(group).kind is DeviceKind.CAMERA:
                frames = simulated(SimulatedLaser(facility, 0), group, PULSES[:5])["ROIImageLow"]
                assert frames.shape == (5, 102, 128)
                assert frames.dtype == np.uint16
                assert 2400 < frames.max() < 3400, group
                assert frames[:, 0, :].max() < 120, group


def test_shot_to_shot_energy_is_near_seven_tenths_of_a_percent_and_seen_by_all_devices(facility):
    of_camera, of_spectro = light(image(facility)), spectrum(facility).sum(axis=1)
    of_meter = np.mean(meter(facility), axis=0)

    for energy in (of_camera, of_spectro, of_meter):
        assert 0.004 < energy.std() / energy.mean() < 0.012
    assert np.corrcoef(of_camera, of_spectro)[0, 1] > 0.95
    assert np.corrcoef(of_camera, of_meter)[0, 1] > 0.7


def test_pointing_jitters_by_a_fraction_of_a_pixel(facility):
    assert 0.1 < centroid(image(facility)).std() < 0.4


def test_cameras_differ_from_each_other_and_from_those_of_another_seed(facility):
    first = image(facility)

    assert np.abs(first[0].astype(int) - image(facility, group="LA_A1_11-Camera_3-Camera-3")[0]).mean() > 30
    assert np.abs(first[0].astype(int) - image(facility, seed=1)[0]).mean() > 30


def test_a_pulse_is_the_same_whichever_pulses_are_made_with_it(facility):
    for group in (CAMERA, SPECTRO, METER):
        together = simulated(SimulatedLaser(facility, 3), group, PULSES)
        alone = simulated(SimulatedLaser(facility, 3), group, PULSES[17:18])
        for name, column in alone.items():
            np.testing.assert_array_equal(column[0], together[name][17])


def test_records_are_stamped_within_the_join_tolerance_and_in_order(facility):
    found = stamps(SimulatedLaser(facility, 0), CAMERA, PULSES)

    late = found.times - PULSES
    assert late.min() >= 0
    assert late.max() < facility.interval("100ms").tolerance_ms / 2
    assert set(found.states) == {b"ON"}


def test_a_drop_of_energy_by_30_percent_scales_image_spectrum_and_both_energies(facility, expected_devices):
    drop = inject(facility, expected_devices, Kind.ENERGY_DROP, ANOMALOUS)

    assert drop.devices == expected_devices.devices
    for normal_values, values in (
        (light(image(facility)), light(image(facility, drop))),
        (spectrum(facility).sum(axis=1), spectrum(facility, drop).sum(axis=1)),
        (meter(facility)[0], meter(facility, drop)[0]),
        (meter(facility)[1], meter(facility, drop)[1]),
    ):
        assert values[20] / normal_values[20] == pytest.approx(0.7, abs=0.003)
        np.testing.assert_array_equal(others(values), others(normal_values))


def test_an_energy_drift_grows_to_its_severity(facility, expected_devices):
    drift = inject(facility, expected_devices, Kind.ENERGY_DRIFT, ANOMALOUS, count=10, severity=0.2)

    lost = 1 - meter(facility, drift)[0] / meter(facility)[0]
    np.testing.assert_allclose(lost[20:30], 0.02 * np.arange(1, 11), atol=1e-9)
    assert not np.delete(lost, np.arange(20, 30)).any()


def test_a_hot_spot_rises_by_its_share_of_the_peak_and_touches_little_else(facility, expected_devices):
    anomalous = image(facility, inject(facility, expected_devices, Kind.HOT_SPOT, ANOMALOUS, device=CAMERA))[
        20
    ].astype(int)
    before = image(facility)[20].astype(int)

    rise = anomalous - before
    assert rise.max() == pytest.approx(0.2 * (before.max() - before.min()), rel=0.05)
    assert (rise > 20).sum() < 60
    assert anomalous.max() < 4092


def test_dust_takes_half_of_the_light_in_its_middle(facility, expected_devices):
    anomalous = image(facility, inject(facility, expected_devices, Kind.DARK_SPOT, ANOMALOUS, device=CAMERA))[
        20
    ]
    before = image(facility)[20]

    assert (anomalous / before.astype(float)).min() == pytest.approx(0.5, abs=0.03)


def test_clipping_takes_the_light_beyond_an_edge(facility, expected_devices):
    anomalous = image(facility, inject(facility, expected_devices, Kind.CLIPPING, ANOMALOUS, device=CAMERA))[
        20
    ].astype(int)

    lost = image(facility)[20].astype(int) - anomalous
    columns = np.flatnonzero(lost.max(axis=0) > 100)
    assert columns[0] > 60
    assert anomalous[:, columns[0] :].max() < 40


def test_a_ghost_adds_its_share_of_the_light(facility, expected_devices):
    anomalous = light(
        image(facility, inject(facility, expected_devices, Kind.GHOST, ANOMALOUS, device=CAMERA))
    )

    assert anomalous[20] / light(image(facility))[20] == pytest.approx(1.1, abs=0.02)


def test_fringes_leave_the_total_but_not_the_profile(facility, expected_devices):
    anomalous = image(facility, inject(facility, expected_devices, Kind.FRINGES, ANOMALOUS, device=CAMERA))
    before = image(facility)

    assert light(anomalous)[20] == pytest.approx(light(before)[20], rel=0.02)
    assert np.abs(anomalous[20].astype(int) - before[20]).max() > 0.15 * before[20].max()


def test_black_and_saturated_frames_are_what_the_facility_calls_so(facility, expected_devices):
    policy = facility.frames
    black = image(facility, inject(facility, expected_devices, Kind.BLACK_FRAME, ANOMALOUS, device=CAMERA))
    saturated = image(
        facility, inject(facility, expected_devices, Kind.SATURATED_FRAME, ANOMALOUS, device=CAMERA)
    )

    assert black[20].max() < policy.black_below <= others(black).max(axis=(1, 2)).min()
    share = (saturated >= policy.saturated_at).mean(axis=(1, 2))
    assert share[20] > policy.saturated_share
    assert not others(share).any()


def test_a_frozen_camera_repeats_the_frame_before_exactly(facility, expected_devices):
    frozen = image(
        facility, inject(facility, expected_devices, Kind.FROZEN_FRAME, ANOMALOUS, device=CAMERA, count=3)
    )

    for row in (20, 21, 22):
        np.testing.assert_array_equal(frozen[row], frozen[19])
    assert (frozen[23] != frozen[22]).any()
    assert all((a != b).any() for a, b in pairwise(frozen[:20]))


def test_sensor_defects_touch_their_pixels_only(facility, expected_devices):
    before = image(facility)[20].astype(int)
    for kind, changed in ((Kind.DEAD_PIXEL, 1), (Kind.HOT_PIXEL, 1), (Kind.DEAD_COLUMN, 102)):
        anomalous = image(facility, inject(facility, expected_devices, kind, ANOMALOUS, device=CAMERA))[20]
        assert (anomalous != before).sum() == changed, kind


def test_pointing_steps_by_its_pixels(facility, expected_devices):
    step = inject(facility, expected_devices, Kind.POINTING_STEP, ANOMALOUS, device=CAMERA, severity=4.0)

    moved = centroid(image(facility, step)) - centroid(image(facility))
    assert moved[20] == pytest.approx(4, abs=0.3)
    assert not others(moved).any()


def test_defocus_lowers_the_peak_and_keeps_the_energy(facility, expected_devices):
    anomalous = image(facility, inject(facility, expected_devices, Kind.DEFOCUS, ANOMALOUS, device=CAMERA))
    before = image(facility)

    assert light(anomalous)[20] == pytest.approx(light(before)[20], rel=0.05)
    assert anomalous[20].max() / before[20].max() == pytest.approx(1 / 1.2**2, rel=0.05)


def test_low_bandwidth_narrows_every_spectrum_of_the_place_at_equal_energy(facility, expected_devices):
    narrow = inject(facility, expected_devices, Kind.LOW_BANDWIDTH, ANOMALOUS)

    assert len(narrow.devices) == 3
    anomalous, before = spectrum(facility, narrow), spectrum(facility)
    assert width(anomalous)[20] / width(before)[20] == pytest.approx(0.7, abs=0.03)
    assert anomalous.sum(axis=1)[20] == pytest.approx(before.sum(axis=1)[20], rel=0.05)
    np.testing.assert_array_equal(others(anomalous), others(before))


def test_a_spectral_hole_and_a_lost_spectrum(facility, expected_devices):
    before = spectrum(facility)
    hole = spectrum(facility, inject(facility, expected_devices, Kind.SPECTRAL_HOLE, ANOMALOUS))
    lost = spectrum(facility, inject(facility, expected_devices, Kind.SPECTRUM_LOSS, ANOMALOUS))

    inside = before[20] > 2000
    assert (hole[20][inside] / before[20][inside]).min() == pytest.approx(0.5, abs=0.05)
    assert not lost[20].any()


def test_a_wavelength_shift_moves_the_spectrum(facility, expected_devices):
    shift = inject(facility, expected_devices, Kind.WAVELENGTH_SHIFT, ANOMALOUS)

    def edge(line: np.ndarray) -> int:
        smooth = np.convolve(line, np.ones(31) / 31, "same")
        return int(np.argmax(smooth > 0.4 * smooth.max()))

    moved = edge(spectrum(facility, shift)[20]) - edge(spectrum(facility)[20])
    assert moved == pytest.approx(30, abs=3)


def test_the_halves_of_a_meter_disagree_by_the_severity(facility, expected_devices):
    anomalous = meter(
        facility, inject(facility, expected_devices, Kind.ENERGY_DISAGREEMENT, ANOMALOUS, device=METER)
    )
    before = meter(facility)

    np.testing.assert_array_equal(anomalous[0], before[0])
    assert anomalous[1][20] / before[1][20] == pytest.approx(0.6)
    assert (
        abs(anomalous[0][20] - anomalous[1][20]) / np.mean([anomalous[0][20], anomalous[1][20]])
        > facility.energy_disagreement
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.FAULT, [b"FAULT"] * 4),
        (Kind.UNREACHABLE, [b"UNREACHABLE"] * 4),
        (Kind.STATE_CHATTER, [b"FAULT", b"ON", b"FAULT", b"ON"]),
    ],
)
def test_states_are_injected_at_their_pulses(facility, expected_devices, kind, expected):
    injection = inject(facility, expected_devices, kind, ANOMALOUS, device=METER, count=4)

    states = stamps(SimulatedLaser(facility, 0, [injection]), METER, PULSES).states
    assert states[20:24].tolist() == expected
    assert set(np.delete(states, np.arange(20, 24))) == {b"ON"}


def test_a_missing_sample_leaves_no_record(facility, expected_devices):
    injection = inject(facility, expected_devices, Kind.MISSING_SAMPLE, ANOMALOUS, device=METER, count=2)

    found = stamps(SimulatedLaser(facility, 0, [injection]), METER, PULSES)
    assert found.pulses.tolist() == [*PULSES[:20], *PULSES[22:]]


def test_a_late_clock_stamps_records_with_other_pulses_times(facility, expected_devices):
    injection = inject(
        facility, expected_devices, Kind.CLOCK_SKEW, ANOMALOUS, device=METER, count=len(PULSES) - 20
    )

    found = stamps(SimulatedLaser(facility, 0, [injection]), METER, PULSES)
    assert found.times[20] - found.pulses[20] == pytest.approx(100, abs=10)
    assert ANOMALOUS not in found.times // 100 * 100


def test_an_anomaly_cannot_happen_to_a_device_of_another_kind(facility, expected_devices):
    with pytest.raises(ValueError, match="hot_spot cannot happen to LA_A1_11-EM_1"):
        inject(facility, expected_devices, Kind.HOT_SPOT, ANOMALOUS, device=METER)


def test_every_kind_has_its_traits():
    assert set(TRAITS) == set(Kind)
