"""The features that the features service would measure of shots, and the devices of the benchmark's place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from shotwatch_benchmark.anomalies import AnomalyClass
from shotwatch_benchmark.lasers import LIMIT
from shotwatch_benchmark.recorder import record
from shotwatch_benchmark.scenes import RecordedShots, Scene
from shotwatch_detector.arrays import Features
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.spectrum import measure_spectra
from shotwatch_shots.pulses import Times

PLACE = "LA A1 11"
CAMERA = "camera"
SPECTROMETER = "spectrometer"
METER = "meter"
SHOTS_AT_ONCE = 250
"""Limits the memory: a few arrays of this many frames of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """n shots and the features measured of them."""

    shots: RecordedShots
    features: Mapping[str, Features]
    """Device → feature → (n,)."""


def observe(
    scene: Scene, pulses: Times, anomaly: AnomalyClass | None = None, severity: float = 0.0
) -> Observed:
    """Record the shots of a scene at these pulses, at most `SHOTS_AT_ONCE` of them, and measure them."""
    shots = record(scene, pulses, anomaly, severity)
    features = {
        CAMERA: measure_beams(shots.frames, LIMIT),
        SPECTROMETER: measure_spectra(shots.spectra),
        METER: measure_energies(shots.energy1, shots.energy2),
    }
    return Observed(shots, features)


def chunks(pulses: Times) -> list[Times]:
    """Return the pulses in parts of `SHOTS_AT_ONCE`."""
    return [pulses[start : start + SHOTS_AT_ONCE] for start in range(0, len(pulses), SHOTS_AT_ONCE)]


def together(parts: Sequence[Observed]) -> Observed:
    """Return the shots of all parts, in order."""
    shots = RecordedShots(
        *(np.concatenate([getattr(part.shots, f.name) for part in parts]) for f in fields(RecordedShots))
    )
    features = {
        device: {name: np.concatenate([part.features[device][name] for part in parts]) for name in measured}
        for device, measured in parts[0].features.items()
    }
    return Observed(shots, features)
