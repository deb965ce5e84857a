"""Sequential tests: steps that are too small for a single shot, and drifts.

Each statistic of a place has CUSUMs for a few sizes of steps, to both sides or to the one that matters. A
CUSUM adds up how far shots deviate from the reference, less an allowance and half of the step; it is never
below zero. A shift is found when one exceeds its limit. The limits follow from a run length: the number of
normal shots of the place from one false alarm of all of its tests to the next, on average.

Assumptions, and what they rest on:

- Normal levels stay within the allowance of the reference. The allowance is the smallest size that is an
  event at all, or half as far again as the level moved while the reference was learned if that is more.
- Shots may be correlated over some tens of shots. The scale of the sums is the long-run standard deviation
  of a shot, by the means of 60, 120 and 240 shots. Slow movement does not count (second differences).
- A single shot counts for no more than 3 standard deviations, so tails may be heavy.

The place itself learns the reference from its first 7,680 shots (13 minutes at 10 Hz). Until then nothing is
tested. It is learned again each time that twice as many shots were seen, up to 30,720 (51 minutes at 10 Hz),
then each time that half as many were. So a drift is found if it exceeds the allowance within some 50
minutes. The history service finds slower ones, as trends.

After a shift, all statistics of its kind at the place learn anew from the next 1,920 shots (3.2 minutes): the
level that stays is the reference from then on. If another shift comes soon, they learn from twice as many
shots each time, up to 30,720. So a laser that keeps moving does not raise an alarm each minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.level_kernels import follow_all
from shotwatch_detector.level_states import CROSSING, LEARNING_SHOTS, SIDES, STATE, STEPS, States, new_state
from shotwatch_detector.run_lengths import limit_of, run_length
from shotwatch_detector.statistics import Baseline
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.features.severities import least_deviation
from shotwatch_shots.features.spec import Side
from shotwatch_shots.levels import DeviceFeature, LevelShift
from shotwatch_shots.pulses import Times
from shotwatch_shots.vocabulary import AnomalyKind

TESTED = frozenset(
    {
        "centroid_x",
        "centroid_y",
        "d4sigma_major",
        "d4sigma_minor",
        "sharpness",
        "total_intensity",
        "energy",
        "spectrum_rms_width",
        "spectrum_centroid",
    }
)
"""The features whose level is tested: those that drift."""
_TESTED_SIDES = {Side.BOTH: (True, True), Side.HIGH: (True, False), Side.LOW: (False, True)}

Flagged = Mapping[AnomalyKind, NDArray[np.bool_]]
"""Kind → the shots that show it by themselves: (n,). They are no evidence for a shift of the level."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelTests:
    """The tests of k statistics that share a run length."""

    statistics: Sequence[DeviceFeature]
    sigmas: Values
    """Standard deviations of single shots: (k,)."""
    least: Values
    """The smallest shifts that matter, in the features' units: (k,)."""
    sides: NDArray[np.bool_]
    """Whether shifts up and down are tested: (k, 2)."""
    kinds: Sequence[AnomalyKind]
    limits: Values
    """Of the CUSUMs of each step size."""
    run_length: float
    """In shots."""

    @property
    def sums(self) -> int:
        """The number of CUSUMs."""
        return int(self.sides.sum()) * len(STEPS)


def level_tests(
    features: Mapping[str, Features], baselines: DeviceBaselines, run_length: float
) -> LevelTests:
    """Return the tests of the features that a batch has and that have a baseline.

    Args:
        features: device → feature → (n,).
        baselines: they give the standard deviation of single shots with which a new statistic begins.
        run_length: the number of normal shots from one false alarm of all tests to the next.
    """
    known: list[tuple[DeviceFeature, Baseline]] = [
        ((device, feature), baselines[device][feature])
        for device in sorted(features.keys() & baselines.keys())
        for feature in sorted(features[device].keys() & baselines[device].keys() & TESTED)
    ]
    return make_tests(
        [statistic for statistic, _ in known],
        sigmas=np.array([of.sigma for _, of in known]),
        least=np.array([least_deviation(feature, of.centre) for (_, feature), of in known]),
        sides=[INDICATORS[feature].side for (_, feature), _ in known],
        kinds=[kind for (_, feature), _ in known if (kind := INDICATORS[feature].kind) is not None],
        run_length=run_length,
    )


def make_tests(
    statistics: Sequence[DeviceFeature],
    sigmas: Values,
    least: Values,
    sides: Sequence[Side],
    kinds: Sequence[AnomalyKind],
    run_length: float,
) -> LevelTests:
    """Return the tests of these statistics; each CUSUM has an equal share of the false alarms."""
    tested = np.array([_TESTED_SIDES[side] for side in sides], bool).reshape(-1, SIDES)
    sums = max(1, int(tested.sum()) * len(STEPS))
    limits = np.array([limit_of(run_length * sums, step / 2) for step in STEPS])
    return LevelTests(statistics, sigmas, least, tested, kinds, limits, run_length)


def follow_levels(
    tests: LevelTests,
    states: Mapping[DeviceFeature, States],
    features: Mapping[str, Features],
    pulses: Times,
    flagged: Flagged,
) -> tuple[dict[DeviceFeature, States], tuple[LevelShift, ...]]:
    """Add n shots to the states; return the states after them, and the shifts that the shots show.

    The result does not depend on how shots are divided into batches, to the last bit.

    Args:
        tests: the tests.
        states: those before; a statistic without one begins to learn.
        features: device → feature → (n,).
        pulses: epoch ms, ascending: (n,).
        flagged: shots that raised an alarm by themselves.
    """
    if not tests.statistics:
        return {}, ()
    values = np.stack([features[device][name] for device, name in tests.statistics], axis=1)
    alone = np.stack([flagged.get(kind, np.zeros(len(pulses), bool)) for kind in tests.kinds], axis=1)
    all_states = np.zeros(len(tests.statistics), STATE)
    for k, (statistic, sigma) in enumerate(zip(tests.statistics, tests.sigmas.tolist(), strict=True)):
        all_states[k : k + 1] = states[statistic] if statistic in states else new_state(sigma)
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(tests.kinds))}
    found = np.zeros(len(all_states) * (len(pulses) // LEARNING_SHOTS + 2), CROSSING)
    crossings = follow_all(
        values,
        alone,
        pulses,
        all_states,
        np.array([numbers[kind] for kind in tests.kinds]),
        tests.least,
        tests.sides,
        tests.limits,
        found,
    )
    after = {statistic: all_states[k : k + 1] for k, statistic in enumerate(tests.statistics)}
    return after, tuple(_shift(row, tests, all_states, pulses) for row in found[:crossings])


def _shift(row: np.void, tests: LevelTests, states: States, pulses: Times) -> LevelShift:
    k = int(row["statistic"])
    device, feature = tests.statistics[k]
    normal_shots = run_length(float(row["cusum"]), STEPS[int(row["step"])] / 2)
    kinds = zip(tests.statistics, tests.kinds, strict=True)
    return LevelShift(
        device=device,
        feature=feature,
        time=int(pulses[int(row["shot"])]),
        since=int(row["since"]),
        shots=int(row["shots"]),
        deviation=float(row["deviation"]),
        reference=float(row["centre"]),
        sigma=float(states["sigma"][k]),
        score=float(np.log10(normal_shots / tests.sums)),
        threshold=float(np.log10(tests.run_length)),
        exceeds=bool(row["exceeds"]),
        watching=len({of for (of, _), kind in kinds if kind is tests.kinds[k]}),
    )
