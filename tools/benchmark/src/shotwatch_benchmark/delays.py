"""Steps and drifts: after how many shots sequential tests find them, all at the same run length.

The detector tests all its levels together. Each specialist tests one of them alone, by the same test and with
all of the false alarms. Steps and drifts begin at several shots of a normal stream, with levels learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_benchmark.anomalies import AnomalyClass
from shotwatch_benchmark.effects import Effects
from shotwatch_benchmark.observing import chunks, observe
from shotwatch_benchmark.scenes import BeamChange, Scene, SceneBatch
from shotwatch_detector.arrays import Features
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.level_states import States
from shotwatch_detector.levels import LevelTests, follow_levels, level_tests
from shotwatch_shots.levels import DeviceFeature
from shotwatch_shots.pulses import Times
from shotwatch_simulator.noise import Floats
from shotwatch_simulator.spectra import Colour

RUN_LENGTH = 360_000
"""Normal shots from one false alarm to the next: ten hours at 10 Hz."""
LEARNED_SHOTS = 16_000
"""Normal shots before the first step or drift."""
FOLLOWED_SHOTS = 300
"""Shots of each step or drift; a drift reaches its size with the last one."""
MOST_OVER_SPECIALIST = 1.5
"""Longest delay of the detector, over that of the best specialist."""


@dataclass(frozen=True, slots=True)
class LastingChange:
    """A step or a drift of one property of the beam."""

    name: str
    meaning: str
    """Of the size."""
    effects: Callable[[Floats], Effects]
    """The effects on shots that have come this far, 0 to 1: (n,)."""
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DelayResult:
    """The median delays of one step or drift, in shots; infinite if most are not found."""

    laser: str
    change: str
    size: float
    drift: bool
    repeats: int
    detector: float
    specialist: str
    """The best one."""
    best: float

    @property
    def ratio(self) -> float | None:
        """The detector's delay over the specialist's; None if either finds less than half."""
        known = np.isfinite([self.detector, self.best]).all()
        return self.detector / self.best if known else None

    @property
    def met(self) -> bool:
        """Whether the detector is at most MOST_OVER_SPECIALIST slower, or no specialist finds half."""
        return not np.isfinite(self.best) or self.detector <= MOST_OVER_SPECIALIST * self.best


def _pointing(share: Floats) -> Effects:
    def move(beam: BeamChange, batch: SceneBatch, pixels: float) -> BeamChange:
        right = np.rint(share * pixels * batch.scene.laser.factor).astype(np.intp)
        return replace(beam, shifts=beam.shifts + np.stack([np.zeros_like(right), right], axis=1))

    return Effects(beam=move)


def _energy(share: Floats) -> Effects:
    def lose(beam: BeamChange, _: SceneBatch, lost: float) -> BeamChange:
        return replace(beam, energy=beam.energy * (1 - share * lost))

    return Effects(beam=lose)


def _bandwidth(share: Floats) -> Effects:
    def narrow(colour: Colour, _: SceneBatch, lost: float) -> Colour:
        return replace(colour, width=colour.width * (1 - share * lost))

    return Effects(colour=narrow)


def _wavelength(share: Floats) -> Effects:
    def move(colour: Colour, _: SceneBatch, pixels: float) -> Colour:
        return replace(colour, shift=colour.shift + share * pixels)

    return Effects(colour=move)


CHANGES = (
    LastingChange("pointing", "px", _pointing, (0.5, 1.0)),
    LastingChange("energy", "share lost", _energy, (0.02, 0.04)),
    LastingChange("bandwidth", "share of the width lost", _bandwidth, (0.01, 0.02)),
    LastingChange("wavelength", "px of the line", _wavelength, (1.5, 3.0)),
)
BY_CHANGE = {change.name: change for change in CHANGES}


def measure_delays(scene: Scene, baselines: DeviceBaselines, first: Times, repeats: int) -> list[DelayResult]:
    """Return the delays of all steps and drifts on a laser.

    Args:
        scene: the laser's test block.
        baselines: those of the detector.
        first: the first pulses of the test, epoch ms, at least LEARNED_SHOTS + repeats * FOLLOWED_SHOTS.
        repeats: number of shots at which each of them begins.
    """
    known = first[: LEARNED_SHOTS + repeats * FOLLOWED_SHOTS]
    normals = _measured(scene, known)
    testers = _testers(normals, baselines)
    onsets = [LEARNED_SHOTS + n * FOLLOWED_SHOTS for n in range(repeats)]
    starts = [_Start.after(testers, normals, known, onset) for onset in onsets]
    return [
        _delay(scene, change, size, drift, starts, testers)
        for change in CHANGES
        for drift in (False, True)
        for size in change.sizes
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """The pulses of a step or drift, and what each tester knows before them."""

    pulses: Times
    states: Mapping[str, Mapping[DeviceFeature, States]]

    @classmethod
    def after(
        cls, testers: Mapping[str, LevelTests], normals: Mapping[str, Features], known: Times, shot: int
    ) -> "_Start":
        before = {device: {name: of[:shot] for name, of in each.items()} for device, each in normals.items()}
        states = {
            name: follow_levels(tests, {}, before, known[:shot], {})[0] for name, tests in testers.items()
        }
        return cls(known[shot : shot + FOLLOWED_SHOTS], states)


def _testers(features: Mapping[str, Features], baselines: DeviceBaselines) -> dict[str, LevelTests]:
    """Return the detector's tests, and those of each specialist by its name."""
    alone = {
        f"{device}, {name}": {device: {name: values}}
        for device, of in features.items()
        for name, values in of.items()
    }
    testers = {name: level_tests(of, baselines, RUN_LENGTH) for name, of in alone.items()}
    return {"": level_tests(features, baselines, RUN_LENGTH)} | {
        name: tests for name, tests in testers.items() if tests.statistics
    }


def _delay(
    scene: Scene,
    change: LastingChange,
    size: float,
    drift: bool,
    starts: Sequence[_Start],
    testers: Mapping[str, LevelTests],
) -> DelayResult:
    delays: dict[str, list[float]] = {name: [] for name in testers}
    for start in starts:
        features = _measured(scene, start.pulses, _anomaly(change, size, drift, start.pulses))
        for name, tests in testers.items():
            delays[name].append(_found_after(tests, start.states[name], features, start.pulses))
    medians = {name: float(np.median(of)) for name, of in delays.items()}
    own = medians.pop("")
    best = min(medians, key=medians.__getitem__)
    return DelayResult(scene.laser.name, change.name, size, drift, len(starts), own, best, medians[best])


def _anomaly(change: LastingChange, size: float, drift: bool, pulses: Times) -> AnomalyClass:
    """Return the anomaly that begins with the first pulse, for the pulses of a chunk."""

    def share(chunk: Times) -> Floats:
        passed = (chunk - pulses[0]) / (pulses[-1] - pulses[0])
        return passed if drift else np.ones(len(chunk))

    def beam(data: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
        return change.effects(share(batch.pulses)).beam(data, batch, severity)

    def colour(data: Colour, batch: SceneBatch, severity: float) -> Colour:
        return change.effects(share(batch.pulses)).colour(data, batch, severity)

    return AnomalyClass(change.name, change.meaning, Effects(beam=beam, colour=colour), (size,))


def _found_after(
    tests: LevelTests, states: Mapping[DeviceFeature, States], features: Mapping[str, Features], pulses: Times
) -> float:
    """Return the number of shots until a test finds a change, or infinity."""
    _, shifts = follow_levels(tests, states, features, pulses, {})
    return float(np.searchsorted(pulses, shifts[0].time) + 1) if shifts else np.inf


def _measured(scene: Scene, pulses: Times, anomaly: AnomalyClass | None = None) -> dict[str, Features]:
    """Return device → the features of the shots at these pulses."""
    severity = anomaly.severities[0] if anomaly else 0.0
    parts = [observe(scene, some, anomaly, severity).features for some in chunks(pulses)]
    return {
        device: {name: np.concatenate([part[device][name] for part in parts]) for name in of}
        for device, of in parts[0].items()
    }
