"""What is measured of each spectrum."""

import numpy as np

from shotwatch_shots.features.spec import EXPLAINS, FeatureSpec, Indicator, Side
from shotwatch_shots.vocabulary import AnomalyKind

_AXIS_UNIT = "In samples of the spectrometer."

SPECTRUM_FEATURES = (
    FeatureSpec(
        "spectrum_sum",
        "counts",
        (-np.inf, np.inf),
        "Sum of all samples. Like every spectrum feature NaN when a sample is not a finite number.",
        indicator=Indicator(AnomalyKind.SPECTRUM, "light in the spectrum", relative_floor=0.003),
    ),
    FeatureSpec("spectrum_peak", "counts", (-np.inf, np.inf), "Largest sample."),
    FeatureSpec(
        "spectrum_centroid",
        "px",
        (-np.inf, np.inf),
        f"Mean position, weighted by intensity. {_AXIS_UNIT} NaN unless the sum is positive.",
        indicator=Indicator(AnomalyKind.WAVELENGTH, "centre wavelength", floor=0.1, in_unit=True),
    ),
    FeatureSpec(
        "spectrum_rms_width",
        "px",
        (0, np.inf),
        "Standard deviation of the position, weighted by intensity; sensitive to a pedestal. "
        f"{_AXIS_UNIT} NaN unless the sum is positive and negative samples leave a positive variance.",
        indicator=Indicator(AnomalyKind.BANDWIDTH, "bandwidth", Side.LOW, relative_floor=0.002),
    ),
    FeatureSpec(
        "spectrum_fwhm",
        "px",
        (0, np.inf),
        "Full width at half maximum: distance between the outermost crossings of half the peak, interpolated "
        "linearly; a hole or a second hump inside does not shorten it. "
        f"{_AXIS_UNIT} NaN when the peak is not positive or a crossing lies outside the spectrum.",
        indicator=Indicator(AnomalyKind.BANDWIDTH, "bandwidth", Side.LOW, relative_floor=0.002),
    ),
    FeatureSpec(
        "spectrum_width_e2",
        "px",
        (0, np.inf),
        "Full width at 1/e² of the peak, between the outermost crossings like the one at half maximum. "
        f"{_AXIS_UNIT} NaN when the peak is not positive or a crossing lies outside the spectrum.",
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "fourier_limit",
        "fs",
        (0, np.inf),
        "Shortest pulse that the spectrum allows: full width at half maximum, between the outermost "
        "crossings, of the intensity over time when the phase is flat. Longer by a few percent when wings "
        "lie below the noise, shorter on a pedestal. NaN where the facility file does not give the "
        "spectrometer's wavelengths, without light, or for a line too narrow to be resolved (1/512 of the "
        "frequency range).",
    ),
    FeatureSpec(
        "spectrum_hole_depth",
        "",
        (0, 1),
        "Deepest dip below the lower of the highest maxima on its two sides, over the peak, in the spectrum "
        "smoothed over 1/128 of its length; negative samples count as zero. 0 without a dip, NaN when the "
        "peak is not positive.",
        indicator=Indicator(
            AnomalyKind.SPECTRUM,
            "depth of the deepest hole in the spectrum",
            Side.HIGH,
            floor=0.002,
            in_unit=True,
        ),
    ),
    FeatureSpec(
        "spectrum_hole_position",
        "px",
        (-np.inf, np.inf),
        f"Bottom of the deepest dip. {_AXIS_UNIT} NaN without a dip or when the peak is not positive.",
    ),
)
