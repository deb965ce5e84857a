"""A pulse as an openPMD file, from which a particle-in-cell simulation can start; LASY writes it.

The envelope is the product of two parts. Across the beam, it is the square root of the light that the camera
recorded. In time, it is the Fourier transform of the square root of the spectrum. Neither of the two devices
measures a phase, so both parts have a flat one: the beam is collimated, and the pulse is the shortest one
that the spectrum allows. The file states so in the attribute `comment`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from lasy.laser import Laser
from lasy.profiles.combined_profile import CombinedLongitudinalTransverseProfile
from lasy.profiles.longitudinal import LongitudinalProfileFromData
from lasy.profiles.transverse import TransverseProfileFromData
from numpy.typing import NDArray

from shotwatch_query.exports.contents import Arrays, CannotBeMade, ExportedPulse

TIME_STEPS = 96
WINDOW_SHARE = 0.999
"""Share of the pulse's energy within the window of time."""
WIDEST_WINDOW = 10.0
"""Maximum length of the window, in widths of the pulse: the noise of a spectrum spreads over all times."""
FINENESS = 4
"""Points in time per inverse of the spectrum's range of frequencies."""
LONGEST_S = 1.0
"""Longer than any pulse with a measured spectrum."""
_C = 299_792_458.0
_PREFIX = "laser"

FloatArray = NDArray[np.float64]


def pulse_file(content: ExportedPulse, arrays: Arrays) -> bytes:
    """Return an openPMD file (HDF5) with the mesh `laserEnvelope` (t, y, x), in V/m.

    Raises:
        CannotBeMade: the frame or the spectrum has no light.
    """
    across = arrays["image"].astype(np.float64)
    if not across.any():
        raise CannotBeMade(f"the frame of {content.camera} has no light above its background")
    along = _in_time(content, arrays["spectrum"].astype(np.float64))
    height, width = across.shape
    right, down = content.pixel_um * 1e-6 * (np.array([width, height]) - 1) / 2
    half = _half_window(along)
    profile = CombinedLongitudinalTransverseProfile(
        wavelength=along.lambda0,
        pol=(1, 0),
        long_profile=along,
        trans_profile=TransverseProfileFromData(across, (-right, -down), (right, down), center_data=False),
        laser_energy=content.energy,
    )
    laser = Laser("xyt", (-right, -down, -half), (right, down, half), (width, height, TIME_STEPS), profile)
    with TemporaryDirectory() as folder:
        laser.write_to_file(_PREFIX, "h5", folder)
        [path] = Path(folder).glob(f"{_PREFIX}*")
        _describe(path, content)
        return path.read_bytes()


def _in_time(content: ExportedPulse, spectrum: FloatArray) -> LongitudinalProfileFromData:
    """Return the pulse in time that the spectrum (m,) allows with a flat phase."""
    # The most negative sample shows how large noise is.
    light = np.where(spectrum > max(-spectrum.min(), 0), spectrum, 0)
    if not light.any():
        raise CannotBeMade(f"the spectrum of {content.spectrometer} has no light above its noise")
    step = (content.wavelengths[1] - content.wavelengths[0]) / (len(light) - 1)
    wavelengths = 1e-9 * (content.wavelengths[0] + step * np.arange(-1, len(light) + 1))
    light = np.pad(light, 1)  # LASY needs a sample beyond the light
    data = {
        "datatype": "spectral",
        "axis": wavelengths,
        # LASY takes this as the power per frequency, which is that per wavelength times λ²/c.
        "intensity": light * wavelengths**2,
        "dt": 1 / (FINENESS * abs(_C / wavelengths[0] - _C / wavelengths[-1])),
    }
    return LongitudinalProfileFromData(data, -LONGEST_S, LONGEST_S)


def _half_window(along: LongitudinalProfileFromData) -> float:
    """Return half of the length of time that the file covers, in s."""
    distance = np.abs(along.time)
    order = np.argsort(distance)
    energy = np.cumsum(along.temporal_intensity[order])
    enough = distance[order][np.searchsorted(energy, WINDOW_SHARE * energy[-1])]
    half_width = distance[along.temporal_intensity >= along.temporal_intensity.max() / 2].max()
    shortest = np.diff(along.time[:2])[0]
    return float(min(max(enough, shortest), max(WIDEST_WINDOW * half_width, shortest)))


def _describe(path: Path, content: ExportedPulse) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["comment"] = (
            f"Shot {content.shot}: near field of {content.camera}, spectrum of {content.spectrometer}, "
            f"energy of {content.energy_meter}. No phase was measured: it is flat, in space and in frequency."
        )
        file.attrs["shot"] = content.shot
        file.attrs["pixel_um"] = content.pixel_um
        file.attrs["wavelengths_nm"] = content.wavelengths
