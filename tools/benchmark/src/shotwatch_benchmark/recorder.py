"""Record the shots of a scene: the pulses, their light, and the output of the devices."""

import numpy as np
from numpy.typing import NDArray

from shotwatch_benchmark.anomalies import AnomalyClass
from shotwatch_benchmark.effects import Effects
from shotwatch_benchmark.lasers import LIMIT, SHAPE
from shotwatch_benchmark.scenes import BeamChange, RecordedShots, Scene, SceneBatch
from shotwatch_shots.pulses import Times
from shotwatch_simulator import energies, spectra
from shotwatch_simulator.frames import Sensor, expose
from shotwatch_simulator.noise import Floats, Images, white

SENSOR = Sensor(LIMIT, background=16.0, read_noise=0.6, electrons_per_count=90.0)
"""Within the ranges of the simulator's cameras; photon noise at the peak is 0.2 % of the peak."""
JITTER = 0.09
"""Pointing jitter from shot to shot on each axis (px, rms). Together with the jitter of the recorded frames,
the drift and the rounding to native pixels it is 0.12 px, twice the jitter of the guide's recording.
"""
FURTHEST_JITTER = 1.0
"""px."""
DRIFT = 0.05
"""Slow pointing drift (px)."""
ENERGY_JITTER = 0.0076
"""From shot to shot (rms), as in the guide's recording."""
ENERGY_DRIFT = 0.002
LINE = 2047
"""Samples of a spectrum."""


def record(
    scene: Scene, pulses: Times, anomaly: AnomalyClass | None = None, severity: float = 0.0
) -> RecordedShots:
    """Return the shots of a scene at these pulses, all of them with the same anomaly."""
    batch, effects = SceneBatch(scene, pulses), anomaly.effects if anomaly else Effects()
    beam = effects.beam(_beam(batch), batch, severity)
    light = effects.light(_light(batch, beam), batch, severity)
    frames = expose(light, SENSOR, white(pulses, SHAPE, scene.seed, scene.laser.name))
    meter = energies.meter("meter", scene.laser.name, scene.seed)
    energy1, energy2 = energies.read_meter(meter, pulses, beam.energy, scene.seed)
    return RecordedShots(
        frames=effects.frames(frames, batch, severity),
        spectra=_spectra(batch, beam.energy, effects, severity),
        energy1=energy1,
        energy2=effects.energy2(energy2, batch, severity),
        blocks=batch.blocks,
    )


def _beam(batch: SceneBatch) -> BeamChange:
    energy = 1 + ENERGY_JITTER * batch.normal("energy") + ENERGY_DRIFT * batch.drift("energy")
    return BeamChange(energy, np.stack([_jitter(batch, axis) for axis in ("down", "right")], axis=1))


def _jitter(batch: SceneBatch, axis: str) -> NDArray[np.intp]:
    pixels = np.clip(JITTER * batch.normal(axis), -FURTHEST_JITTER, FURTHEST_JITTER) + DRIFT * batch.drift(
        axis
    )
    return np.rint(batch.scene.laser.factor * pixels).astype(np.intp)


def _light(batch: SceneBatch, beam: BeamChange) -> Images:
    laser = batch.scene.laser
    light = laser.light(batch.frames, beam.shifts)
    if beam.blur is not None:
        light = np.maximum(light + laser.defocus(beam.blur, beam.shifts), 0)
    return light * beam.energy.astype(np.float32)[:, None, None]


def _spectra(batch: SceneBatch, energy: Floats, effects: Effects, severity: float) -> Images:
    scene = batch.scene
    device = spectra.spectrometer(scene.laser.name, LINE, scene.seed)
    colour = spectra.colour(scene.laser.name, batch.pulses, energy, scene.seed)
    light = spectra.disperse(device, effects.colour(colour, batch, severity))
    return spectra.read_out(effects.line(light, batch, severity), device, batch.pulses, scene.seed)
