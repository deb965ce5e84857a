"""Every feature and score of a shot: what it is, in which unit and range, and who defines it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True, slots=True)
class FeatureTerm:
    """A measured quantity as the REST API, the events and the documentation name it."""

    name: str
    unit: str
    """Empty for pure numbers."""
    range: tuple[float, float]
    """Lowest and highest value that can occur, infinite where there is no bound."""
    description: str
    source: str = ""
    """The standard or report that defines it, where there is one."""


ISO_BEAM = "ISO 11146-1, ISO/TR 11146-3"
REPORT = "ELI-NP report RST-2.3, energy of a shot"
_NO_BEAM = (
    "NaN when no pixel is lit (six standard deviations of the noise above background) "
    "or the light is no more than background."
)
_AXIS_UNIT = "In nm where the spectrometer's wavelengths are known, else in samples."

BEAM_FEATURES = (
    FeatureTerm("total_intensity", "counts", (-np.inf, np.inf), "Sum of the whole frame above background."),
    FeatureTerm("peak_intensity", "counts", (-np.inf, np.inf), "Brightest pixel above background."),
    FeatureTerm(
        "background",
        "counts",
        (0, 65535),
        "Mean of the unlit pixels on the frame's border.",
        "ISO/TR 11146-3",
    ),
    FeatureTerm(
        "background_noise",
        "counts",
        (0, 65535),
        "Standard deviation of the unlit pixels on the frame's border.",
        "ISO/TR 11146-3",
    ),
    FeatureTerm(
        "centroid_x", "px", (-np.inf, np.inf), f"Column of the centre of light, from 0. {_NO_BEAM}", ISO_BEAM
    ),
    FeatureTerm(
        "centroid_y", "px", (-np.inf, np.inf), f"Row of the centre of light, from 0. {_NO_BEAM}", ISO_BEAM
    ),
    FeatureTerm(
        "d4sigma_major",
        "px",
        (0, np.inf),
        "Beam width along the major axis: four standard deviations of the light above background, within the "
        f"self-convergent rectangle of three beam widths. {_NO_BEAM}",
        ISO_BEAM,
    ),
    FeatureTerm("d4sigma_minor", "px", (0, np.inf), f"Beam width along the minor axis. {_NO_BEAM}", ISO_BEAM),
    FeatureTerm(
        "orientation",
        "rad",
        (-np.pi / 2, np.pi / 2),
        "Angle from the x axis to the major axis, counter-clockwise as the frame is shown (row 0 on top). "
        f"Ill-determined above an ellipticity of 0.87, where ISO calls a beam circular. {_NO_BEAM} "
        "NaN also when both widths are the same.",
        ISO_BEAM,
    ),
    FeatureTerm(
        "ellipticity",
        "",
        (0, 1),
        f"Minor over major beam width; 1 is circular. {_NO_BEAM} NaN also for light on a single pixel.",
        ISO_BEAM,
    ),
    FeatureTerm("saturated_pixels", "pixels", (0, np.inf), "Pixels at or above the saturation level."),
    FeatureTerm(
        "dead_pixels",
        "pixels",
        (0, np.inf),
        "Dark pixels amid light: no brighter than the background's noise, while both neighbours in the row, "
        "or both in the column, have a tenth of the peak. Finds pixels, rows and columns where light is.",
    ),
)

SPECTRUM_FEATURES = (
    FeatureTerm(
        "spectrum_sum",
        "counts",
        (-np.inf, np.inf),
        "Sum of all samples. Like every spectrum feature NaN when a sample is not a finite number.",
    ),
    FeatureTerm("spectrum_peak", "counts", (-np.inf, np.inf), "Largest sample."),
    FeatureTerm(
        "spectrum_centroid",
        "px",
        (-np.inf, np.inf),
        f"Mean position, weighted by intensity. {_AXIS_UNIT} NaN unless the sum is positive.",
    ),
    FeatureTerm(
        "spectrum_rms_width",
        "px",
        (0, np.inf),
        "Standard deviation of the position, weighted by intensity; sensitive to a pedestal. "
        f"{_AXIS_UNIT} NaN unless the sum is positive and negative samples leave a positive variance.",
    ),
    FeatureTerm(
        "spectrum_fwhm",
        "px",
        (0, np.inf),
        "Full width at half maximum: distance between the outermost crossings of half the peak, interpolated "
        "linearly; a hole or a second hump inside does not shorten it. "
        f"{_AXIS_UNIT} NaN when the peak is not positive or a crossing lies outside the spectrum.",
    ),
)

ENERGY_FEATURES = (
    FeatureTerm(
        "energy",
        "J",
        (0, np.inf),
        "Mean of the meter's two energies when both are positive, else the one that is; NaN when neither is.",
        REPORT,
    ),
    FeatureTerm(
        "energy_disagreement",
        "",
        (0, 2),
        "|energy1 - energy2| over their mean; NaN unless both are positive.",
    ),
)

SCORES = (
    FeatureTerm(
        "residual",
        "px",
        (0, np.inf),
        "Integral of |image - reconstruction| by the model, in pixels of full brightness.",
        "ELI-NP report RST-2.3, anomaly metric",
    ),
    FeatureTerm(
        "hot_spot",
        "σ",
        (-np.inf, np.inf),
        "Largest local excess over the reconstruction, less the largest deficit.",
    ),
    FeatureTerm(
        "dark_spot", "σ", (-np.inf, np.inf), "Largest local deficit of light, less the largest excess."
    ),
)

FEATURE_TERMS: Mapping[str, FeatureTerm] = MappingProxyType(
    {term.name: term for term in (*BEAM_FEATURES, *SPECTRUM_FEATURES, *ENERGY_FEATURES, *SCORES)}
)
