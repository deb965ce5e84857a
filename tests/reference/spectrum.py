"""Features of spectra as they were measured before they had compiled functions: the standard of these.

Copied from libs/physics of 2026-11-27 and not to be changed: it computes with (n, m) arrays, one feature
after the other. What it is given is not checked.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter1d

from shotwatch_physics.feature import Features, FloatArray, ratio
from shotwatch_physics.moments import ROUNDING

LIGHT_SPEED = 299.792458
"""nm/fs."""
SPECTRA_AT_ONCE = 64
"""Limits the memory: a few arrays of this many spectra."""
HOLE_RESOLUTION = 1 / 128
"""The search for holes uses the mean over this share of the spectrum: narrower holes are noise."""
FREQUENCIES = 512
"""Bins of equal frequency: each holds about four of 2047 samples."""
ZERO_PADDING = 8
"""The pulse is sampled at 1 / (padding × frequency range)."""


def measure_spectra(intensities: NDArray[np.float32], wavelengths: FloatArray | None = None) -> Features:
    """Return SPECTRUM_FEATURES of n spectra. A spectrum's features do not depend on the other spectra.

    Args:
        intensities: (n, m) counts. A sample is the light on one pixel of the spectrometer, so moments are
            sums over samples, for any spacing of the wavelengths.
        wavelengths: (m,) nm, positive, strictly monotonic; without it positions are sample numbers from 0.
    """
    chunks = [_measure(chunk, wavelengths) for chunk in _chunks(intensities)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def fourier_limits(intensities: NDArray[np.float32], wavelengths: FloatArray) -> FloatArray:
    """Return the shortest pulse (fs, full width at half maximum) that each spectrum (n, m) allows: (n,).

    Args:
        intensities: (n, m) counts.
        wavelengths: (m,) nm, positive, strictly monotonic.
    """
    return np.concatenate([_fourier_limit(_usable(chunk)[0], wavelengths) for chunk in _chunks(intensities)])


def _chunks(intensities: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, max(1, len(intensities)), SPECTRA_AT_ONCE):
        yield intensities[start : start + SPECTRA_AT_ONCE]


def _usable(intensities: NDArray[np.float32]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the spectra, zero if a sample is not finite, and which spectra (n,) have only finite samples."""
    usable = np.isfinite(np.abs(intensities).max(axis=1))
    return np.where(usable[:, None], intensities, 0).astype(np.float64), usable


def _measure(intensities: NDArray[np.float32], wavelengths: FloatArray | None) -> Features:
    axis = np.arange(intensities.shape[1], dtype=np.float64) if wavelengths is None else wavelengths
    spectra, usable = _usable(intensities)
    centroid, rms_width = _centroid_and_rms_width(spectra, axis)
    peak = spectra.max(axis=1)
    hole_depth, hole_position = _deepest_hole(spectra, axis)
    features = {
        "spectrum_sum": spectra.sum(axis=1),
        "spectrum_peak": peak,
        "spectrum_centroid": centroid,
        "spectrum_rms_width": rms_width,
        "spectrum_fwhm": _full_width(spectra, axis, peak / 2),
        "spectrum_width_e2": _full_width(spectra, axis, peak / np.e**2),
        "fourier_limit": _fourier_limit(spectra, wavelengths),
        "spectrum_hole_depth": hole_depth,
        "spectrum_hole_position": hole_position,
    }
    return {name: np.where(usable, values, np.nan) for name, values in features.items()}


def _centroid_and_rms_width(spectra: FloatArray, axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = spectra.sum(axis=1)
    centroid = ratio((spectra * axis).sum(axis=1), total)
    variance = ratio((spectra * (axis - centroid[:, None]) ** 2).sum(axis=1), total)
    return centroid, np.sqrt(np.where(variance >= 0, variance, np.nan))


def _full_width(curves: FloatArray, axis: FloatArray, level: FloatArray) -> FloatArray:
    """Return the distance between the outermost crossings of each curve's level (n,)."""
    first, last = _outermost(curves, level)
    width = np.abs(_crossing(curves, axis, level, last, +1) - _crossing(curves, axis, level, first, -1))
    return np.where(level > 0, width, np.nan)


def _outermost(curves: FloatArray, level: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last sample of each curve that reach its level."""
    above = curves >= level[:, None]
    return above.argmax(axis=1), curves.shape[1] - 1 - above[:, ::-1].argmax(axis=1)


def _crossing(
    curves: FloatArray, axis: FloatArray, level: FloatArray, inner: NDArray[np.intp], step: int
) -> FloatArray:
    """Return where each curve falls to its level between sample `inner` and the next; NaN at the edge."""
    shots = np.arange(len(curves))
    outer = np.clip(inner + step, 0, curves.shape[1] - 1)
    high, low = curves[shots, inner], curves[shots, outer]
    return axis[inner] + ratio(high - level, high - low) * (axis[outer] - axis[inner])


def _deepest_hole(spectra: FloatArray, axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return depth (share of the peak) and position of the deepest dip.

    The depth is that of water standing in the dip.
    """
    window = 2 * int(spectra.shape[1] * HOLE_RESOLUTION / 2) + 1
    smooth = uniform_filter1d(np.maximum(spectra, 0), window, axis=1, mode="nearest")
    # Water stands as high as the lower of the highest points on its two sides.
    from_left = np.maximum.accumulate(smooth, axis=1)
    from_right = np.maximum.accumulate(smooth[:, ::-1], axis=1)[:, ::-1]
    water = np.minimum(from_left, from_right) - smooth
    deepest = water.argmax(axis=1)
    depth = ratio(water[np.arange(len(water)), deepest], from_left[:, -1])
    depth = np.where(depth < ROUNDING, 0.0, depth)
    return depth, np.where(depth > 0, axis[deepest], np.nan)


def _fourier_limit(spectra: FloatArray, wavelengths: FloatArray | None) -> FloatArray:
    """Return the FWHM (fs) of the pulse with this spectrum and a flat phase.

    The field is the Fourier transform of the square root of the power per frequency. That root is real, so
    the pulse is symmetric, and half of it is enough.
    """
    if wavelengths is None or len(wavelengths) == 1:
        return np.full(len(spectra), np.nan)
    power, step = _over_frequency(spectra, wavelengths)
    length = next_fast_len(ZERO_PADDING * FREQUENCIES, real=True)
    field = np.fft.rfft(np.sqrt(power), length, axis=1)
    pulse = field.real**2 + field.imag**2
    half = pulse[:, 0] / 2
    _, last = _outermost(pulse, half)
    times = np.arange(pulse.shape[1]) / (length * step)
    return np.where(half > 0, 2 * _crossing(pulse, times, half, last, +1), np.nan)


def _over_frequency(spectra: FloatArray, wavelengths: FloatArray) -> tuple[FloatArray, float]:
    """Return the light, relative to the strongest, in FREQUENCIES bins of equal width, and that width (1/fs).

    A pixel's light is divided among the bins that it overlaps, which in the limit equals the Jacobian λ²/c.
    Light is never negative. So the most negative bin shows how large noise is, and bins that are no higher
    above zero are set to zero.
    """
    if wavelengths[0] < wavelengths[-1]:
        spectra, wavelengths = spectra[:, ::-1], wavelengths[::-1]
    bounds = _pixel_bounds(LIGHT_SPEED / wavelengths)
    bins = np.linspace(bounds[0], bounds[-1], FREQUENCIES + 1)
    position = np.interp(bins, bounds, np.arange(len(bounds)))
    pixel = np.minimum(position.astype(np.intp), spectra.shape[1] - 1)
    # `below` is the light below each pixel. Interpolated at the edges of the bins, its differences are the
    # light of the bins.
    below = np.cumsum(spectra, axis=1) - spectra
    power = np.diff(below[:, pixel] + (position - pixel) * spectra[:, pixel], axis=1)
    noise = np.maximum(-power.min(axis=1), 0)
    power = np.where(power > noise[:, None], power, 0)
    return power / np.where(power.any(axis=1), power.max(axis=1), 1)[:, None], float(bins[1] - bins[0])


def _pixel_bounds(centres: FloatArray) -> FloatArray:
    """Return the edges (m + 1,) halfway between the pixels, and as far outside the first and the last."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
