"""The decision: one finding per shot and kind, the cause and not what follows from it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from shotwatch_detector.claims import Claim
from shotwatch_detector.decision import Judgement, judge
from shotwatch_detector.sentences import chance_of, explain
from shotwatch_detector.statistics import RUN, Baseline
from shotwatch_detector.tails import Tail
from shotwatch_detector.thresholds import SeriesThresholds, Share
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import FEATURE_SPECS, INDICATORS
from shotwatch_shots.features.severities import SEVERITY_LIMITS
from shotwatch_shots.features.spec import Side
from shotwatch_shots.vocabulary import AnomalyKind, Severity

SHOTS = 40
CAMERAS = ("Camera-1", "Camera-2", "Camera-3")
CENTRES: Mapping[str, Mapping[str, float]] = {
    **{
        camera: {
            "total_intensity": 1e6,
            "centroid_x": 60.0,
            "d4sigma_major": 80.0,
            "hot_spot": 0.0,
            "dark_spot": 0.0,
            "residual": 50.0,
        }
        for camera in CAMERAS
    },
    "EM-1": {"energy": 2.0},
    "Spectro-1": {"spectrum_sum": 1e6, "spectrum_fwhm": 500.0, "spectrum_rms_width": 200.0},
}
SPOT = {"hot_spot_x": 61.0, "hot_spot_y": 48.0, "hot_spot_excess": 0.18, "dark_spot_excess": 0.18}


def baseline_of(feature: str, centre: float) -> Baseline:
    sigma = INDICATORS[feature].floor or INDICATORS[feature].relative_floor * centre
    return Baseline(
        centre,
        sigma,
        tail=Tail(2.6, 0.876),
        run_tail=Tail(1.0, 0.876),
        side=INDICATORS[feature].side,
        independent=300,
    )


BASELINES = {
    device: {feature: baseline_of(feature, centre) for feature, centre in features.items()}
    for device, features in CENTRES.items()
}


def normal_features() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    features = {
        device: {
            name: reference.centre + reference.sigma * rng.normal(0, 0.5, SHOTS)
            for name, reference in references.items()
        }
        for device, references in BASELINES.items()
    }
    for camera in CAMERAS:
        for name, value in SPOT.items():
            features[camera][name] = np.full(SHOTS, value)
    return features


def decide(features: Mapping[str, Mapping[str, np.ndarray]]) -> Judgement:
    return judge("LA A1 11", features, BASELINES, SHOTS)


def deviate(
    features: dict[str, dict[str, np.ndarray]], device: str, feature: str, sigmas: float, shot: int = 7
) -> None:
    reference = BASELINES[device][feature]
    features[device][feature][shot] = reference.centre + sigmas * reference.sigma


def test_normal_shots_raise_nothing() -> None:
    judgement = decide(normal_features())
    assert judgement.findings == ()
    assert judgement.score.shape == (SHOTS,)
    assert judgement.score.max() < judgement.threshold == pytest.approx(4.556, abs=0.001)


def test_an_energy_drop_is_one_finding_of_all_devices_that_saw_it() -> None:
    features = normal_features()
    for camera in CAMERAS:
        features[camera]["total_intensity"][7] *= 0.7
    features["EM-1"]["energy"][7] *= 0.7
    features["Spectro-1"]["spectrum_sum"][7] *= 0.7
    (finding,) = decide(features).findings
    assert (finding.shot, finding.kind, finding.severity) == (7, AnomalyKind.ENERGY, Severity.WARNING)
    assert set(finding.devices) == {*CAMERAS, "EM-1"}
    assert finding.why == (
        "energy of LA A1 11 is 30 % below its reference on 4 of 4 devices; "
        "by chance less than once in 10 hours (provisional: learned from 300 independent shots)"
    )
    assert finding.provisional
    assert finding.score == finding.threshold + 1


@pytest.mark.parametrize(("size", "found"), [(0.0004, []), (0.002, [AnomalyKind.HOT_SPOT])])
def test_a_deviation_too_small_to_act_on_is_no_event_however_improbable(
    size: float, found: list[AnomalyKind]
) -> None:
    features = normal_features()
    deviate(features, CAMERAS[0], "hot_spot", 90)
    features[CAMERAS[0]]["hot_spot_excess"][7] = size
    findings = decide(features).findings
    assert [finding.kind for finding in findings] == found
    assert all("0.2 % of the peak" in finding.why for finding in findings)


def test_less_light_in_the_spectrum_alone_is_a_matter_of_the_spectrum() -> None:
    features = normal_features()
    deviate(features, "Spectro-1", "spectrum_sum", -30)
    (finding,) = decide(features).findings
    assert finding.kind is AnomalyKind.SPECTRUM


def test_a_narrow_spectrum_is_low_bandwidth_and_critical() -> None:
    features = normal_features()
    for name in ("spectrum_fwhm", "spectrum_rms_width", "spectrum_sum"):
        features["Spectro-1"][name][7] *= 0.7
    (finding,) = decide(features).findings
    assert (finding.kind, finding.severity) == (AnomalyKind.BANDWIDTH, Severity.CRITICAL)
    assert "30 % below" in finding.why
    assert {c.feature for c in finding.contributions} == {
        "spectrum_fwhm",
        "spectrum_rms_width",
        "spectrum_sum",
    }


def test_a_broad_spectrum_is_no_danger() -> None:
    features = normal_features()
    deviate(features, "Spectro-1", "spectrum_fwhm", 30)
    assert decide(features).findings == ()


def test_a_hot_spot_states_where_it_is_and_is_critical() -> None:
    features = normal_features()
    deviate(features, "Camera-2", "hot_spot", 30)
    deviate(features, "Camera-2", "residual", 12)
    (finding,) = decide(features).findings
    assert (finding.kind, finding.severity) == (AnomalyKind.HOT_SPOT, Severity.CRITICAL)
    assert finding.devices == ("Camera-2",)
    assert "hot spot on Camera-2 at x = 61, y = 48 px, 18 % of the peak" in finding.why


@pytest.mark.parametrize(
    ("feature", "change", "kind"),
    [("centroid_x", 2.4, AnomalyKind.POINTING), ("d4sigma_major", 5.0, AnomalyKind.BEAM_SIZE)],
)
def test_a_beam_that_moved_or_grew_is_not_a_hot_spot_too(
    feature: str, change: float, kind: AnomalyKind
) -> None:
    features = normal_features()
    for name, sigmas in (("hot_spot", 40.0), ("residual", 40.0)):
        deviate(features, "Camera-1", name, sigmas)
    features["Camera-1"][feature][7] = CENTRES["Camera-1"][feature] + change
    (finding,) = decide(features).findings
    assert finding.kind is kind


def test_a_dangerous_hot_spot_that_moves_the_centre_of_light_a_little_is_reported_all_the_same() -> None:
    features = normal_features()
    deviate(features, "Camera-1", "hot_spot", 40)
    features["Camera-1"]["centroid_x"][7] = CENTRES["Camera-1"]["centroid_x"] + 0.6
    found = {finding.kind: finding.severity for finding in decide(features).findings}
    assert found == {AnomalyKind.HOT_SPOT: Severity.CRITICAL, AnomalyKind.POINTING: Severity.INFO}


def test_light_that_one_camera_loses_follows_from_its_profile_and_what_all_lose_does_not() -> None:
    features = normal_features()
    deviate(features, "Camera-1", "total_intensity", -15)
    deviate(features, "Camera-1", "residual", 30)
    assert [finding.kind for finding in decide(features).findings] == [AnomalyKind.PROFILE]
    deviate(features, "EM-1", "energy", -15)
    assert [finding.kind for finding in decide(features).findings] == [AnomalyKind.ENERGY]


def test_a_cause_on_one_device_explains_nothing_on_another() -> None:
    features = normal_features()
    deviate(features, "Camera-1", "centroid_x", 20)
    deviate(features, "Camera-2", "hot_spot", 20)
    assert {f.kind for f in decide(features).findings} == {AnomalyKind.POINTING, AnomalyKind.HOT_SPOT}


def test_the_strongest_contribution_comes_first_and_states_what_it_is() -> None:
    features = normal_features()
    deviate(features, "Camera-1", "total_intensity", -12)
    deviate(features, "Camera-3", "total_intensity", -25)
    (finding,) = decide(features).findings
    assert finding.devices == ("Camera-3", "Camera-1")
    strongest = finding.contributions[0]
    assert (strongest.device, strongest.feature, strongest.unit) == ("Camera-3", "total_intensity", "counts")
    assert strongest.sigmas == pytest.approx(-25)
    sigma = BASELINES["Camera-3"]["total_intensity"].sigma
    assert (strongest.reference, strongest.value) == pytest.approx((1e6, 1e6 - 25 * sigma))


def test_a_device_without_reference_is_not_judged() -> None:
    features = normal_features()
    features["Camera-9"] = {"total_intensity": np.zeros(SHOTS)}
    assert decide(features).findings == ()


def test_devices_that_were_not_there_are_not_counted() -> None:
    features = normal_features()
    features["Camera-1"]["total_intensity"][7] = np.nan
    deviate(features, "Camera-2", "total_intensity", -30)
    (finding,) = decide(features).findings
    assert "on 1 of 3 devices" in finding.why


def test_without_any_reference_every_shot_scores_zero() -> None:
    judgement = judge("LA A1 11", normal_features(), {}, SHOTS)
    assert (judgement.score == 0).all()


def test_a_level_that_shifts_is_reported_once_though_no_shot_is_anomalous() -> None:
    features = normal_features()
    features["EM-1"]["energy"][20:] += 3.5 * BASELINES["EM-1"]["energy"].sigma
    (finding,) = decide(features).findings
    assert finding.kind is AnomalyKind.ENERGY
    assert 20 <= finding.shot < 20 + 2 * RUN
    assert f"in the median of {RUN} shots" in finding.why
    assert finding.score > finding.threshold


def test_a_level_that_shifts_far_is_reported_by_its_shots_alone() -> None:
    features = normal_features()
    features["EM-1"]["energy"][20:] *= 0.7
    findings = decide(features).findings
    assert [finding.shot for finding in findings] == list(range(20, SHOTS))
    assert not any("median" in finding.why for finding in findings)


def test_one_anomalous_shot_shifts_no_level() -> None:
    features = normal_features()
    deviate(features, "EM-1", "energy", -500)
    assert len(decide(features).findings) == 1


def test_fewer_false_alarms_are_bought_with_a_higher_threshold() -> None:
    features = normal_features()
    deviate(features, "EM-1", "energy", -6.5)
    often, seldom = (
        judge("LA A1 11", features, BASELINES, SHOTS, SeriesThresholds(Share(rate))) for rate in (10.0, 0.001)
    )
    assert len(often.findings) == 1
    assert seldom.findings == ()
    assert seldom.threshold == pytest.approx(often.threshold + 4)


def test_a_feature_that_only_explains_raises_nothing_and_is_reported_with_what_does() -> None:
    features = normal_features()
    baselines = {
        **BASELINES,
        "Camera-1": {
            **BASELINES["Camera-1"],
            "flatness": Baseline(0.4, 0.01, Tail(2.6, 0.876), Tail(1, 1), Side.BOTH),
        },
    }
    features["Camera-1"]["flatness"] = np.full(SHOTS, 0.8)
    assert judge("LA A1 11", features, baselines, SHOTS).findings == ()
    deviate(features, "Camera-1", "d4sigma_major", 20)
    (finding,) = judge("LA A1 11", features, baselines, SHOTS).findings
    assert [each.feature for each in finding.contributions] == ["flatness", "d4sigma_major"]


@pytest.mark.parametrize(
    ("per_hour", "expected"),
    [
        (1.0, "by chance once an hour"),
        (0.1, "by chance once in 10 hours"),
        (1 / 240, "by chance once in 10 days"),
        (1e-6, "by chance once in 114 years"),
    ],
)
def test_an_event_states_how_likely_chance_is(per_hour: float, expected: str) -> None:
    assert chance_of(per_hour, Claim(1.0, 1.0, False, False, 40)) == expected
    limited = expected.replace("once", "less than once")
    assert chance_of(per_hour, Claim(1.0, 1.0, True, False, 40)) == limited
    shot, shots = (chance_of(per_hour, Claim(1.0, 1.0, True, True, many)) for many in (1, 2))
    assert shot == f"{limited} (provisional: learned from 1 independent shot)"
    assert shots == f"{limited} (provisional: learned from 2 independent shots)"


@pytest.mark.parametrize("sigmas", [-30.0, -3000.0])
def test_a_score_ends_ten_times_rarer_than_the_threshold_or_than_what_was_learned(sigmas: float) -> None:
    features = normal_features()
    deviate(features, "EM-1", "energy", sigmas)
    few = {"EM-1": {"energy": BASELINES["EM-1"]["energy"]}}
    many = {"EM-1": {"energy": replace(BASELINES["EM-1"]["energy"], independent=10**7)}}
    judgements = [judge("LA A1 11", features, baselines, SHOTS) for baselines in (few, many)]
    (little,), (much,) = (judgement.findings for judgement in judgements)
    assert little.provisional
    assert little.score == judgements[0].score[7] == little.threshold + 1
    assert much.score == judgements[1].score[7] == pytest.approx(np.log10(10**7 / 3) + 1, abs=0.01)
    assert little.strength == much.strength > much.score


def test_what_enough_shots_support_is_not_provisional() -> None:
    features = normal_features()
    deviate(features, "EM-1", "energy", -5.4)
    baselines = {"EM-1": {"energy": replace(BASELINES["EM-1"]["energy"], independent=10**7)}}
    (finding,) = judge("LA A1 11", features, baselines, SHOTS).findings
    assert finding.threshold < finding.score < np.log10(10**7 / 3)
    assert not finding.provisional
    assert "by chance once in" in finding.why
    assert "provisional" not in finding.why


@pytest.mark.parametrize(
    ("share", "severity"),
    [(0.01, Severity.INFO), (0.04, Severity.WARNING), (0.09, Severity.CRITICAL)],
)
def test_how_urgent_a_hot_spot_is_depends_on_its_size_and_not_on_its_rarity(
    share: float, severity: Severity
) -> None:
    features = normal_features()
    deviate(features, "Camera-2", "hot_spot", 300)
    features["Camera-2"]["hot_spot_excess"][7] = share
    (finding,) = decide(features).findings
    assert finding.severity is severity


def test_a_hot_spot_is_as_urgent_as_its_size_even_if_its_middle_is_a_rarer_bright_pixel() -> None:
    features = normal_features()
    deviate(features, "Camera-2", "hot_spot", 30)
    features["Camera-2"]["hot_spot_excess"][7] = 0.09
    pixel = {"pixel_excess": 3.0, "pixel_excess_x": 61.0, "pixel_excess_y": 48.0, "pixel_excess_size": 0.15}
    features["Camera-2"] |= {name: np.full(SHOTS, value) for name, value in pixel.items()}
    features["Camera-2"]["pixel_excess"][7] = 60.0
    of_camera = {**BASELINES["Camera-2"], "pixel_excess": baseline_of("pixel_excess", 3.0)}
    (finding,) = judge("LA A1 11", features, {**BASELINES, "Camera-2": of_camera}, SHOTS).findings
    assert finding.contributions[0].feature == "pixel_excess"
    assert (finding.kind, finding.severity) == (AnomalyKind.HOT_SPOT, Severity.CRITICAL)
    assert "hot spot on Camera-2 at x = 61, y = 48 px, 9 % of the peak" in finding.why


@pytest.mark.parametrize(
    ("change", "severity"),
    [(0.7, Severity.WARNING), (1.15, Severity.WARNING), (1.25, Severity.CRITICAL)],
)
def test_only_an_energy_that_is_far_too_high_is_critical(change: float, severity: Severity) -> None:
    features = normal_features()
    features["EM-1"]["energy"][7] *= change
    (finding,) = decide(features).findings
    assert finding.severity is severity


def test_every_feature_that_raises_an_alarm_has_limits_of_severity() -> None:
    judged = {name for name, indicator in INDICATORS.items() if indicator.kind is not None}
    assert SEVERITY_LIMITS.keys() == judged
    assert all(0 < limits.warning < limits.critical for limits in SEVERITY_LIMITS.values())


def test_every_feature_that_raises_an_alarm_has_words_for_people() -> None:
    for name, indicator in INDICATORS.items():
        if indicator.kind is not None:
            contribution = Contribution(
                device="Camera-1", feature=name, value=2.0, reference=1.0, sigmas=9.0, unit="px"
            )
            measured = {f"{name}_{what}": 1.0 for what in ("x", "y", "excess", "size")}
            assert indicator.noun
            assert explain("LA A1 11", contribution, 1, 1, measured).startswith(indicator.noun)


def test_the_position_and_the_size_of_a_spot_are_features() -> None:
    for name, indicator in INDICATORS.items():
        if indicator.spot_size:
            assert {f"{name}_x", f"{name}_y"} & FEATURE_SPECS.keys()
            assert indicator.spot_size in FEATURE_SPECS
