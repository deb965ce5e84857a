"""The position and width of a spectrum, its holes, and the shortest pulse that it allows."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from shotwatch_physics.feature import IN_LANES, Features, FloatArray
from shotwatch_physics.moments import ROUNDING, read_only

SPECTRUM_NAMES = (
    *("spectrum_sum", "spectrum_peak", "spectrum_centroid", "spectrum_rms_width"),
    *("spectrum_fwhm", "spectrum_width_e2", "fourier_limit"),
    *("spectrum_hole_depth", "spectrum_hole_position"),
)
LIGHT_SPEED = 299.792458
"""nm/fs."""
SPECTRA_AT_ONCE = 64
"""Limits the memory of the Fourier transforms."""
HOLE_RESOLUTION = 1 / 128
"""The search for holes uses the mean over this share of the spectrum: narrower holes are noise."""
FREQUENCIES = 512
"""Bins of equal frequency: each holds about four of 2047 samples."""
ZERO_PADDING = 8
"""The pulse is sampled at 1 / (padding × frequency range)."""

Spectra = NDArray[np.float32]
"""(n, m) counts."""
Spectrum = NDArray[np.float32]
"""(m,) counts."""


def measure_spectra(intensities: Spectra, wavelengths: FloatArray | None = None) -> Features:
    """Return SPECTRUM_FEATURES of n spectra. A spectrum's features do not depend on the other spectra.

    Args:
        intensities: (n, m) counts. A sample is the light on one pixel of the spectrometer, so moments are
            sums over samples, for any spacing of the wavelengths.
        wavelengths: (m,) nm, positive, strictly monotonic; without it positions are sample numbers from 0.

    Raises:
        ValueError: the spectra have no samples, or the wavelengths are not as above.
    """
    _check(intensities, wavelengths)
    axis = np.arange(intensities.shape[1], dtype=np.float64) if wavelengths is None else wavelengths
    columns = np.full((len(intensities), len(SPECTRUM_NAMES)), np.nan)
    _measure_all(read_only(intensities), np.ascontiguousarray(axis), columns)
    features = dict(zip(SPECTRUM_NAMES, columns.T, strict=True))
    return (
        features
        if wavelengths is None
        else features | {"fourier_limit": fourier_limits(intensities, wavelengths)}
    )


def fourier_limits(intensities: Spectra, wavelengths: FloatArray) -> FloatArray:
    """Return the shortest pulse (fs, full width at half maximum) that each spectrum (n, m) allows: (n,).

    It is the pulse with this spectrum and a flat phase. The field is the Fourier transform of the square root
    of the power per frequency. That root is real, so the pulse is symmetric, and half of it is enough. NaN
    without light, if a sample is not finite, and if there is only one sample.

    Args:
        intensities: (n, m) counts.
        wavelengths: (m,) nm, positive, strictly monotonic.

    Raises:
        ValueError: the spectra have no samples, or the wavelengths are not as above.
    """
    _check(intensities, wavelengths)
    limits = np.full(len(intensities), np.nan)
    if len(wavelengths) == 1:
        return limits
    rising = bool(wavelengths[0] < wavelengths[-1])
    bounds = _pixel_bounds(LIGHT_SPEED / (wavelengths[::-1] if rising else wavelengths))
    bins = np.linspace(bounds[0], bounds[-1], FREQUENCIES + 1)
    position = np.interp(bins, bounds, np.arange(len(bounds)))
    length = next_fast_len(ZERO_PADDING * FREQUENCIES, real=True)
    time_step: float = 1 / (length * (bins[1] - bins[0]))
    for start in range(0, len(intensities), SPECTRA_AT_ONCE):
        chunk = slice(start, start + SPECTRA_AT_ONCE)
        roots = _roots_of_power(read_only(intensities[chunk]), position, rising)
        _half_maxima(np.fft.rfft(roots, length, axis=1), limits[chunk])
    return 2 * time_step * limits


def _check(intensities: NDArray[np.float32], wavelengths: FloatArray | None) -> None:
    if intensities.ndim != 2 or intensities.shape[1] == 0:
        raise ValueError(f"spectra must be (n, m) with at least one sample, not {intensities.shape}")
    if wavelengths is None:
        return
    steps = np.diff(wavelengths)
    monotonic = (steps > 0).all() or (steps < 0).all()
    if wavelengths.shape != intensities.shape[1:] or not monotonic or not _positive(wavelengths):
        raise ValueError("wavelengths must be (m,), positive and strictly monotonic")


def _positive(wavelengths: FloatArray) -> bool:
    return bool((np.isfinite(wavelengths) & (wavelengths > 0)).all())


@njit(cache=True, nogil=True)
def _measure_all(spectra: Spectra, axis: FloatArray, columns: FloatArray) -> None:
    """Fill the columns (n, 9), which are NaN before, except the Fourier limit."""
    sums, highest = np.empty(len(axis)), np.empty(len(axis))
    for index in range(len(spectra)):
        if _all_finite(spectra[index]):
            _measure_one(spectra[index], axis, sums, highest, columns[index])


@njit(cache=True, nogil=True)
def _all_finite(spectrum: Spectrum) -> bool:
    """Return whether all samples are finite; without branches, so that the loop runs in SIMD lanes."""
    others = 0
    for sample in range(np.uint64(len(spectrum))):
        others += not abs(spectrum[sample]) < np.inf
    return others == 0


@njit(cache=True, nogil=True)
def _measure_one(
    spectrum: Spectrum, axis: FloatArray, sums: FloatArray, highest: FloatArray, found: FloatArray
) -> None:
    """Fill `found` (9,); `sums` and `highest` are memory (m,)."""
    total, along = _sums(spectrum, axis)
    peak = float(spectrum.max())
    found[0], found[1] = total, peak
    if total > 0:
        found[2] = along / total
        variance = _squares_about(spectrum, axis, found[2]) / total
        if variance >= 0:
            found[3] = np.sqrt(variance)
    if peak > 0:
        found[4] = _full_width(spectrum, axis, peak / 2)
        found[5] = _full_width(spectrum, axis, peak / np.e**2)
        depth, sample = _deepest_hole(spectrum, sums, highest)
        found[7] = depth
        if depth > 0:
            found[8] = axis[sample]


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _sums(spectrum: Spectrum, axis: FloatArray) -> tuple[float, float]:
    """Return Σ I and Σ x I."""
    total, along = 0.0, 0.0
    for sample in range(np.uint64(len(spectrum))):
        light = float(spectrum[sample])
        total += light
        along += axis[sample] * light
    return total, along


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _squares_about(spectrum: Spectrum, axis: FloatArray, centroid: float) -> float:
    """Return Σ (x - centroid)² I."""
    squares = 0.0
    for sample in range(np.uint64(len(spectrum))):
        squares += (axis[sample] - centroid) ** 2 * float(spectrum[sample])
    return squares


@njit(cache=True, nogil=True)
def _full_width(spectrum: Spectrum, axis: FloatArray, level: float) -> float:
    """Return the distance between the outermost crossings of a level that the spectrum reaches."""
    first, last = 0, len(spectrum) - 1
    while spectrum[first] < level:
        first += 1
    while spectrum[last] < level:
        last -= 1
    return abs(
        _crossing(spectrum, axis, level, last, last + 1) - _crossing(spectrum, axis, level, first, first - 1)
    )


@njit(cache=True, nogil=True)
def _crossing(spectrum: Spectrum, axis: FloatArray, level: float, inner: int, outer: int) -> float:
    """Return where the spectrum falls to a level between two samples; NaN if `outer` is beyond its end."""
    if not 0 <= outer < len(spectrum):
        return np.nan
    high, low = float(spectrum[inner]), float(spectrum[outer])
    place: float = axis[inner] + (high - level) / (high - low) * (axis[outer] - axis[inner])
    return place


@njit(cache=True, nogil=True)
def _deepest_hole(spectrum: Spectrum, sums: FloatArray, highest: FloatArray) -> tuple[float, int]:
    """Return the depth of the deepest dip (share of the peak), and the first sample that is so deep.

    The depth is that of water standing in the dip: as high as the lower of the highest points on its two
    sides. All heights are those of `sums` over a window of samples, the mean times a number that does not
    matter; beyond its ends, the spectrum continues with its last sample.
    """
    last = len(spectrum) - 1
    reach = int(len(spectrum) * HOLE_RESOLUTION / 2)
    total = 0.0
    for sample in range(-reach, reach + 1):
        total += max(float(spectrum[min(max(sample, 0), last)]), 0.0)
    top = total
    for sample in range(len(spectrum)):
        top = max(top, total)
        sums[sample], highest[sample] = total, top
        added, removed = spectrum[min(sample + reach + 1, last)], spectrum[max(sample - reach, 0)]
        total += max(float(added), 0.0) - max(float(removed), 0.0)
    deepest, place, from_right = 0.0, last, 0.0
    for sample in range(last, -1, -1):
        from_right = max(from_right, sums[sample])
        water = min(highest[sample], from_right) - sums[sample]
        if water >= deepest:
            deepest, place = water, sample
    depth = min(deepest / top, 1.0)  # sums between two high samples may be rounded to below zero
    return (0.0 if depth < ROUNDING else depth), place


@njit(cache=True, nogil=True)
def _roots_of_power(spectra: Spectra, position: FloatArray, rising: bool) -> FloatArray:
    """Return the roots of the light in bins of equal frequency, relative to the strongest: (n, 512).

    A pixel's light is divided among the bins that it overlaps, which in the limit equals the Jacobian λ²/c.
    Light is never negative. So the most negative bin shows how large noise is, and bins that are no higher
    above zero are set to zero. Spectra without light, or with a sample that is not finite, are zero.

    Args:
        spectra: (n, m).
        position: of the edges of the bins in pixels, by ascending frequency: (513,).
        rising: whether the wavelengths ascend, and frequencies descend.
    """
    count, pixels = spectra.shape
    roots = np.zeros((count, len(position) - 1))
    below = np.zeros(pixels + 1)
    for index in range(count):
        spectrum = spectra[index]
        if _all_finite(spectrum):
            for pixel in range(pixels):
                light = spectrum[pixels - 1 - pixel] if rising else spectrum[pixel]
                below[pixel + 1] = below[pixel] + light
            power = roots[index]
            before = 0.0
            for edge in range(len(position)):
                pixel = min(int(position[edge]), pixels - 1)
                share = position[edge] - pixel
                light_below = below[pixel] + share * (below[pixel + 1] - below[pixel])
                if edge > 0:
                    power[edge - 1] = light_below - before
                before = light_below
            noise, strongest = max(-power.min(), 0.0), power.max()
            for edge in range(len(power)):
                power[edge] = np.sqrt(power[edge] / strongest) if power[edge] > noise else 0.0
    return roots


@njit(cache=True, nogil=True)
def _half_maxima(fields: NDArray[np.complex128], places: FloatArray) -> None:
    """Fill the places (n,) where the pulses with these fields (n, k) last fall to half of their maximum.

    Places are counted in samples from the middle of the pulse. They remain NaN without light, and if a pulse
    does not fall so far.
    """
    for index in range(len(fields)):
        field = fields[index]
        last = len(field) - 1
        half = _power(field[0]) / 2
        if half > 0:
            while _power(field[last]) < half:
                last -= 1
            if last < len(field) - 1:
                high, low = _power(field[last]), _power(field[last + 1])
                places[index] = last + (high - half) / (high - low)


@njit(cache=True, nogil=True)
def _power(field: complex) -> float:
    return field.real**2 + field.imag**2


def _pixel_bounds(centres: FloatArray) -> FloatArray:
    """Return the edges (m + 1,) halfway between the pixels, and as far outside the first and the last."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
