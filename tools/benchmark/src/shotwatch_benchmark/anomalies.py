"""The classes of anomaly, their effects on shots, and their severities."""

from dataclasses import dataclass

from shotwatch_benchmark.effects import (
    Effects,
    clipping,
    dead_column,
    dead_pixel,
    defocus,
    dust,
    energy_disagreement,
    energy_drift,
    energy_drop,
    fringes,
    ghost,
    hot_pixel,
    hot_spot,
    low_bandwidth,
    pointing_drift,
    pointing_step,
    saturation,
    spectral_hole,
    wavelength_shift,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The recall that the detector must reach at one false alarm an hour."""

    severity: float
    recall: float


@dataclass(frozen=True, slots=True)
class AnomalyClass:
    """A class of anomaly."""

    name: str
    meaning: str
    """The meaning of the severity."""
    effects: Effects
    severities: tuple[float, ...]
    """Ascending, without zero."""
    target: Target | None = None
    needs_mean: bool = False
    """It cannot be injected into a laser with only one frame, because it needs the mean of several frames."""


ANOMALIES = (
    AnomalyClass(
        "hot spot",
        "amplitude over the peak",
        Effects(light=hot_spot),
        (0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1),
        Target(0.05, 0.95),
    ),
    AnomalyClass(
        "dust", "light taken in its middle", Effects(light=dust), (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ),
    AnomalyClass(
        "fringes", "modulation depth", Effects(light=fringes), (0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1)
    ),
    AnomalyClass(
        "clipping",
        "share of the light cut off",
        Effects(light=clipping),
        (0.00002, 0.00005, 0.0001, 0.001, 0.01, 0.05),
        Target(0.01, 0.95),
    ),
    AnomalyClass(
        "ghost",
        "brightness over the beam's",
        Effects(light=ghost),
        (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1),
    ),
    AnomalyClass(
        "saturation", "too much light", Effects(light=saturation), (0.02, 0.03, 0.04, 0.05, 0.1, 0.5, 1.0)
    ),
    AnomalyClass(
        "dead pixel",
        "share of the counts lost",
        Effects(frames=dead_pixel),
        (0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0),
    ),
    AnomalyClass(
        "hot pixel",
        "counts more, over the limit",
        Effects(frames=hot_pixel),
        (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.2),
    ),
    AnomalyClass(
        "dead column",
        "share of the counts lost",
        Effects(frames=dead_column),
        (0.002, 0.004, 0.006, 0.01, 0.02, 0.1, 1.0),
    ),
    AnomalyClass(
        "defocus",
        "blur, standard deviation, px",
        Effects(beam=defocus),
        (0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 3.0),
        Target(0.5, 0.95),
        needs_mean=True,
    ),
    AnomalyClass(
        "pointing step",
        "px",
        Effects(beam=pointing_step),
        (0.2, 0.4, 0.6, 0.8, 1.0, 1.6),
        Target(1.0, 0.8),
    ),
    AnomalyClass(
        "pointing drift", "px at its end", Effects(beam=pointing_drift), (0.4, 0.6, 0.8, 1.0, 1.6, 2.0)
    ),
    AnomalyClass(
        "energy drop",
        "share of the energy lost",
        Effects(beam=energy_drop),
        (0.02, 0.03, 0.035, 0.04, 0.05, 0.1, 0.2),
        Target(0.1, 0.9),
    ),
    AnomalyClass(
        "energy drift", "share lost at its end", Effects(beam=energy_drift), (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
    ),
    AnomalyClass(
        "energy disagreement",
        "share lost by energy2",
        Effects(energy2=energy_disagreement),
        (0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.4),
    ),
    AnomalyClass(
        "low bandwidth",
        "share of the width lost",
        Effects(colour=low_bandwidth),
        (0.005, 0.01, 0.0125, 0.015, 0.02, 0.05, 0.1, 0.2),
        Target(0.1, 0.9),
    ),
    AnomalyClass(
        "wavelength shift",
        "px of the line",
        Effects(colour=wavelength_shift),
        (1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 30.0),
    ),
    AnomalyClass(
        "spectral hole", "depth", Effects(line=spectral_hole), (0.02, 0.05, 0.1, 0.15, 0.2, 0.35, 0.5)
    ),
)
"""Severities are spaced across the noise floor: the lowest is invisible to anybody, the highest visible to
everybody.
"""
BY_NAME = {anomaly.name: anomaly for anomaly in ANOMALIES}
"""Tasks for other processes identify an anomaly by its name."""
