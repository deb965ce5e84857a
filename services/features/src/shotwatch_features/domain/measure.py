"""The features of a device: its kind determines which measurements its block goes through."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.block import Array
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.feature import Features
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference, measure_in_detail, pointing
from shotwatch_physics.spectrum import fourier_limits, measure_spectra
from shotwatch_shots.device_kinds import DeviceKind

Arrays = Mapping[str, Array]
"""Column of a block → its rows (n, ...)."""
DETAIL_EVERY_MS = 1000
"""Period of the shots that are measured in detail, in ms: one in ten at 10 Hz, all at lower rates."""


@dataclass(frozen=True, slots=True)
class Known:
    """The facts about a device that are known before it is measured; None for what is unknown."""

    saturated_at: int
    """Saturation level in counts."""
    wavelengths: tuple[float, float] | None = None
    """Wavelengths of a spectrum's first and last sample, in nm."""
    noise: NoiseModel | None = None
    reference: Reference | None = None


def measure(kind: DeviceKind, arrays: Arrays, known: Known) -> Features:
    """Return the features that are measured for every shot, by name: (n,) each.

    Raises:
        ValueError: an array that a device of this kind needs is absent.
    """
    match kind:
        case DeviceKind.CAMERA:
            return _measure_camera(_array(arrays, "image"), known)
        case DeviceKind.SPECTRO:
            return _measure_spectrometer(_array(arrays, "spectrum"), known)
        case DeviceKind.ENERGY_METER:
            return measure_energies(_array(arrays, "energy1"), _array(arrays, "energy2"))
        case DeviceKind.OTHER:
            return {}


def measure_camera_in_detail(arrays: Arrays, known: Known) -> Features:
    """Return the features that take too long to measure for every shot, by name: (n,) each.

    Raises:
        ValueError: there are no images.
    """
    return measure_in_detail(_array(arrays, "image"), known.noise, known.reference)


def chosen_for_detail(pulses: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose the shots that are measured in detail whether anomalous or not, by their pulses (epoch ms)."""
    chosen: NDArray[np.bool_] = pulses % DETAIL_EVERY_MS == 0
    return chosen


def _array(arrays: Arrays, name: str) -> Array:
    if name not in arrays:
        raise ValueError(f"the block has no {name}")
    return arrays[name]


def _measure_spectrometer(spectra: NDArray[np.float32], known: Known) -> Features:
    features = measure_spectra(spectra)
    if known.wavelengths is None:
        return features
    wavelengths = np.linspace(*known.wavelengths, spectra.shape[1])
    return {**features, "fourier_limit": fourier_limits(spectra, wavelengths)}


def _measure_camera(images: NDArray[np.uint16], known: Known) -> Features:
    features = measure_beams(images, known.saturated_at, known.noise)
    if known.reference is None:
        return features
    centroids = np.stack([features["centroid_x"], features["centroid_y"]], axis=1)
    return {**features, **pointing(centroids, known.reference)}
