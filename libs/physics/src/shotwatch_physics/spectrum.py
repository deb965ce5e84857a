"""Where a spectrum lies and how broad it is."""

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.feature import Features, FloatArray, ratio


def measure_spectra(intensities: NDArray[np.float32], wavelengths: FloatArray | None = None) -> Features:
    """SPECTRUM_FEATURES of n spectra.

    Args:
        intensities: (n, m) counts. A sample is the light on one pixel of the spectrometer, so moments are
            sums over samples, whatever the spacing of the wavelengths.
        wavelengths: (m,) nm, strictly monotonic; without it positions are sample numbers from 0.
    """
    axis = np.arange(intensities.shape[1], dtype=np.float64) if wavelengths is None else wavelengths
    usable = np.isfinite(np.abs(intensities).max(axis=1))
    spectra = np.where(usable[:, None], intensities, 0).astype(np.float64)
    centroid, rms_width = _centroid_and_rms_width(spectra, axis)
    features = {
        "spectrum_sum": spectra.sum(axis=1),
        "spectrum_peak": spectra.max(axis=1),
        "spectrum_centroid": centroid,
        "spectrum_rms_width": rms_width,
        "spectrum_fwhm": _full_width_at_half_maximum(spectra, axis),
    }
    return {name: np.where(usable, values, np.nan) for name, values in features.items()}


def _centroid_and_rms_width(spectra: FloatArray, axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = spectra.sum(axis=1)
    centroid = ratio((spectra * axis).sum(axis=1), total)
    variance = ratio((spectra * (axis - centroid[:, None]) ** 2).sum(axis=1), total)
    return centroid, np.sqrt(np.where(variance >= 0, variance, np.nan))


def _full_width_at_half_maximum(spectra: FloatArray, axis: FloatArray) -> FloatArray:
    half = spectra.max(axis=1) / 2
    above = spectra >= half[:, None]
    first = above.argmax(axis=1)
    last = spectra.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    width = np.abs(_crossing(spectra, axis, half, last, +1) - _crossing(spectra, axis, half, first, -1))
    return np.where(half > 0, width, np.nan)


def _crossing(
    spectra: FloatArray, axis: FloatArray, half: FloatArray, inner: NDArray[np.intp], step: int
) -> FloatArray:
    """Where each spectrum falls to `half` between sample `inner` and its neighbour; NaN at the edge."""
    shots = np.arange(len(spectra))
    outer = np.clip(inner + step, 0, spectra.shape[1] - 1)
    high, low = spectra[shots, inner], spectra[shots, outer]
    return axis[inner] + ratio(high - half, high - low) * (axis[outer] - axis[inner])
