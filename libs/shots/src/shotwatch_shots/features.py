"""Every feature and score of a shot: its meaning, unit, range and defining source."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

EVERY_SHOT = "every shot"
DETAILED_SHOTS = "one shot a second, and every anomalous one"
SCORED_SHOTS = "every shot, once there is a model"
REFERRED_SHOTS = "every shot, once the camera has a reference"


@dataclass(frozen=True, slots=True)
class FeatureTerm:
    """A measured quantity, as the REST API, the events and the documentation name it."""

    name: str
    unit: str
    """Empty for pure numbers."""
    range: tuple[float, float]
    """Lowest and highest possible value; infinite if there is no bound."""
    description: str
    source: str = ""
    """The standard or report that defines it, if there is one."""
    measured_on: str = EVERY_SHOT
    """The shots that have it."""


ISO_BEAM = "ISO 11146-1, ISO/TR 11146-3"
ISO_FLUENCE = "ISO 13694"
REPORT = "ELI-NP report RST-2.3, energy of a shot"
_NO_BEAM = (
    "NaN when no pixel is lit (six standard deviations of the noise above background), "
    "or a single one that the noise around it outweighs."
)
_MAXIMUM = "the maximum (the largest mean over 3 x 3 pixels, which one hot pixel hardly changes)"
_CLIPPED = f"where the fluence is above a tenth of {_MAXIMUM}"
_CONTRAST = (
    "mean of 3 x 3 pixels against the mean of the surrounding ring (11 x 11 without the inner 5 x 5), as a "
    "share of the largest 3 x 3 mean"
)
_SELF_CONTRAST = "The beam's own curvature is part of it; the camera's history knows what is usual."
_NO_SPOT = f"{_NO_BEAM} NaN also in frames of at most 3 x 3 pixels."
_NO_HOLE = f"{_NO_SPOT} NaN also when nowhere the ring has a fifth of the largest 3 x 3 mean."
_AXIS_UNIT = "In samples of the spectrometer."

BEAM_FEATURES = (
    FeatureTerm(
        "total_intensity",
        "counts",
        (-np.inf, np.inf),
        "Sum of the whole frame above background, without hot pixels.",
    ),
    FeatureTerm("peak_intensity", "counts", (-np.inf, np.inf), "Brightest pixel above background."),
    FeatureTerm(
        "background",
        "counts",
        (0, 65535),
        "Level of the unlit pixels at the frame's centre: a plane through those of the whole frame.",
        "ISO/TR 11146-3",
    ),
    FeatureTerm(
        "background_noise",
        "counts",
        (0, 65535),
        "Standard deviation of the unlit pixels about their plane.",
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
    FeatureTerm(
        "hot_pixels",
        "pixels",
        (0, np.inf),
        "Single pixels that are brighter than all their neighbours by more than eight standard deviations of "
        "the noise, and above the darkest neighbour by more than six times the range of the neighbours. "
        "Centroid, widths and total intensity are measured without them.",
    ),
    FeatureTerm(
        "effective_area",
        "px²",
        (1, np.inf),
        f"(Σ E)² / Σ E² over the fluence E above noise: an evenly lit area is its own. {_NO_BEAM}",
        "Effective mode area",
    ),
    FeatureTerm(
        "fluence_uniformity",
        "",
        (0, np.inf),
        f"Beam uniformity: rms deviation of the fluence from its mean, over that mean, {_CLIPPED}; "
        f"0 is even. {_NO_BEAM}",
        ISO_FLUENCE,
    ),
    FeatureTerm(
        "flatness",
        "",
        (0, 9),
        f"Flatness factor: mean fluence {_CLIPPED}, over that maximum; 1 is flat, more than 1 occurs only "
        f"for light on a few pixels. {_NO_BEAM}",
        ISO_FLUENCE,
    ),
    FeatureTerm(
        "plateau_uniformity",
        "",
        (0, 1.5),
        "Full width at half maximum of the peak that the histogram of fluence has near its maximum, over "
        f"{_MAXIMUM}. Small for a flat top, though not below the bin of 1/64; near 1 without a plateau. "
        f"{_NO_BEAM}",
        ISO_FLUENCE,
    ),
    FeatureTerm(
        "edge_steepness",
        "",
        (0, 1),
        "Share of the area above a tenth of the maximum fluence that is not above nine tenths of it; 0 is a "
        f"vertical edge. The maximum is the largest mean over 3 x 3 pixels. {_NO_BEAM}",
        ISO_FLUENCE,
    ),
    FeatureTerm(
        "peak_to_average",
        "",
        (1, np.inf),
        f"Brightest single pixel over the mean fluence {_CLIPPED}. {_NO_BEAM}",
    ),
    FeatureTerm(
        "encircled_radius_50",
        "px",
        (0, np.inf),
        "Radius of the circle about the light's centroid that holds 50 % of the light above noise. "
        f"{_NO_BEAM}",
    ),
    FeatureTerm(
        "encircled_radius_86",
        "px",
        (0, np.inf),
        "Radius of the circle about the light's centroid that holds 86.5 % of the light above noise: "
        f"1 - 1/e², two standard deviations of a round Gaussian. {_NO_BEAM}",
    ),
    FeatureTerm(
        "spot_excess",
        "",
        (-np.inf, np.inf),
        f"Largest local excess: {_CONTRAST}. {_SELF_CONTRAST} {_NO_SPOT}",
    ),
    FeatureTerm("spot_x", "px", (0, np.inf), f"Column of the largest local excess, from 0. {_NO_SPOT}"),
    FeatureTerm("spot_y", "px", (0, np.inf), f"Row of the largest local excess, from 0. {_NO_SPOT}"),
    FeatureTerm(
        "spot_size",
        "pixels",
        (0, 121),
        "Pixels within 11 x 11 that exceed the ring's mean by more than half of the largest local excess. "
        f"{_NO_SPOT}",
    ),
    FeatureTerm(
        "hole_deficit",
        "",
        (-np.inf, np.inf),
        f"Largest local deficit within the light: {_CONTRAST}. {_SELF_CONTRAST} {_NO_HOLE}",
    ),
    FeatureTerm("hole_x", "px", (0, np.inf), f"Column of the largest local deficit, from 0. {_NO_HOLE}"),
    FeatureTerm("hole_y", "px", (0, np.inf), f"Row of the largest local deficit, from 0. {_NO_HOLE}"),
    FeatureTerm(
        "hole_size",
        "pixels",
        (0, 121),
        "Pixels within 11 x 11 that fall short of the ring's mean by more than half of the largest local "
        f"deficit. {_NO_HOLE}",
    ),
    FeatureTerm(
        "sharpness",
        "",
        (0, np.inf),
        "Share of the squared fluence that lies in structure finer than 3 x 3 pixels, noise included; less "
        f"when the image is out of focus. {_NO_SPOT}",
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
    FeatureTerm(
        "spectrum_width_e2",
        "px",
        (0, np.inf),
        "Full width at 1/e² of the peak, between the outermost crossings like the one at half maximum. "
        f"{_AXIS_UNIT} NaN when the peak is not positive or a crossing lies outside the spectrum.",
    ),
    FeatureTerm(
        "fourier_limit",
        "fs",
        (0, np.inf),
        "Shortest pulse that the spectrum allows: full width at half maximum, between the outermost "
        "crossings, of the intensity over time when the phase is flat. Longer by a few percent when wings "
        "lie below the noise, shorter on a pedestal. NaN where the facility file does not give the "
        "spectrometer's wavelengths, without light, or for a line too narrow to be resolved (1/512 of the "
        "frequency range).",
    ),
    FeatureTerm(
        "spectrum_hole_depth",
        "",
        (0, 1),
        "Deepest dip below the lower of the highest maxima on its two sides, over the peak, in the spectrum "
        "smoothed over 1/128 of its length; negative samples count as zero. 0 without a dip, NaN when the "
        "peak is not positive.",
    ),
    FeatureTerm(
        "spectrum_hole_position",
        "px",
        (-np.inf, np.inf),
        f"Bottom of the deepest dip. {_AXIS_UNIT} NaN without a dip or when the peak is not positive.",
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

_GAUSSIAN_TERMS = (
    ("amplitude", "counts", (0, np.inf), "Height"),
    ("x", "px", (-np.inf, np.inf), "Centre column, from 0,"),
    ("y", "px", (-np.inf, np.inf), "Centre row, from 0,"),
    ("sigma_x", "px", (0, np.inf), "Standard deviation along x"),
    ("sigma_y", "px", (0, np.inf), "Standard deviation along y"),
)
_GAUSSIANS = {1: "with the most light", 2: "with the second most light", 3: "with the least light"}
_FITS = (
    ("", "gaussian_fit", "fitted to the light above noise"),
    ("crop_", "crop_fit", "fitted to a crop of 45 x 55 px about the centroid"),
)
_REPORT_FIT = "ELI-NP report RST-2.3, profile"


def _fit_terms(prefix: str, fit: str, fitted: str) -> Iterator[FeatureTerm]:
    for n, which in _GAUSSIANS.items():
        for name, unit, bounds, what in _GAUSSIAN_TERMS:
            description = f"{what} of the Gaussian {which}, of three that are {fitted}."
            yield FeatureTerm(
                f"{prefix}gaussian{n}_{name}", unit, bounds, description, _REPORT_FIT, DETAILED_SHOTS
            )
    error = f"Rms error of the three Gaussians {fitted}, over the frame's maximum less its minimum."
    yield FeatureTerm(f"{fit}_error", "", (0, 1), error, _REPORT_FIT, DETAILED_SHOTS)
    ended = f"1 when the search for the three Gaussians {fitted} ended at a minimum, else 0."
    yield FeatureTerm(f"{fit}_converged", "", (0, 1), ended, _REPORT_FIT, DETAILED_SHOTS)


DETAILED_FEATURES = (
    *(term for fit in _FITS for term in _fit_terms(*fit)),
    FeatureTerm(
        "component1",
        "σ",
        (-np.inf, np.inf),
        "First principal component of the three Gaussians' parameters, from those of the camera's reference.",
        _REPORT_FIT,
        DETAILED_SHOTS,
    ),
    FeatureTerm(
        "component2",
        "σ",
        (-np.inf, np.inf),
        "Second principal component of the three Gaussians' parameters.",
        _REPORT_FIT,
        DETAILED_SHOTS,
    ),
    FeatureTerm(
        "distance_to_reference",
        "px",
        (0, np.inf),
        "Sliced 1-Wasserstein distance of the light above noise to the camera's reference, over 32 "
        "directions: how far light would have to be moved.",
        "ELI-NP report RST-2.3, similarity",
        DETAILED_SHOTS,
    ),
)

POINTING_FEATURES = (
    FeatureTerm(
        "pointing_x",
        "px",
        (-np.inf, np.inf),
        "Column of the centre of light, from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
    FeatureTerm(
        "pointing_y",
        "px",
        (-np.inf, np.inf),
        "Row of the centre of light, from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
    FeatureTerm(
        "pointing",
        "px",
        (0, np.inf),
        "Distance of the centre of light from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
)

_SPOTS = (("hot_spot", "excess", "over"), ("dark_spot", "deficit", "under"))


def _spot_terms(spot: str, what: str, over: str) -> Iterator[FeatureTerm]:
    where = f"of the largest local {what} {over} the reconstruction"
    yield FeatureTerm(
        f"{spot}_excess",
        "",
        (-np.inf, np.inf),
        f"Size {where}, as a share of the reference's peak.",
        "",
        SCORED_SHOTS,
    )
    yield FeatureTerm(f"{spot}_x", "px", (0, np.inf), f"Column {where}, from 0.", "", SCORED_SHOTS)
    yield FeatureTerm(f"{spot}_y", "px", (0, np.inf), f"Row {where}, from 0.", "", SCORED_SHOTS)


_RESTS = (("excess", "above"), ("deficit", "below"))


def _rest_terms(name: str, side: str) -> Iterator[FeatureTerm]:
    what = f"largest local {name}, {side} what the camera's usual patterns explain"
    bounds = (-np.inf, np.inf)
    description = f"{what.capitalize()}, in standard deviations of that pixel."
    yield FeatureTerm(name, "σ", bounds, description, "", SCORED_SHOTS)
    yield FeatureTerm(
        f"{name}_size", "", bounds, f"Size of the {what}, as a share of the peak.", "", SCORED_SHOTS
    )
    yield FeatureTerm(f"{name}_x", "px", (0, np.inf), f"Column of the {what}, from 0.", "", SCORED_SHOTS)
    yield FeatureTerm(f"{name}_y", "px", (0, np.inf), f"Row of the {what}, from 0.", "", SCORED_SHOTS)


SCORES = (
    FeatureTerm(
        "residual",
        "px",
        (0, np.inf),
        "Integral of |image - reconstruction| by the model, in pixels of full brightness.",
        "ELI-NP report RST-2.3, anomaly metric",
        SCORED_SHOTS,
    ),
    FeatureTerm(
        "hot_spot",
        "σ",
        (-np.inf, np.inf),
        "Largest local excess over the reconstruction, less the largest deficit.",
        "",
        SCORED_SHOTS,
    ),
    FeatureTerm(
        "dark_spot",
        "σ",
        (-np.inf, np.inf),
        "Largest local deficit of light, less the largest excess.",
        "",
        SCORED_SHOTS,
    ),
    *(term for spot in _SPOTS for term in _spot_terms(*spot)),
    FeatureTerm(
        "structure",
        "σ",
        (0, np.inf),
        "Rms over the frame of what the camera's usual patterns do not explain, in standard deviations of "
        "each pixel.",
        "",
        SCORED_SHOTS,
    ),
    *(term for rest in _RESTS for term in _rest_terms(*rest)),
)

FEATURE_TERMS: Mapping[str, FeatureTerm] = MappingProxyType(
    {
        term.name: term
        for term in (
            *BEAM_FEATURES,
            *POINTING_FEATURES,
            *DETAILED_FEATURES,
            *SPECTRUM_FEATURES,
            *ENERGY_FEATURES,
            *SCORES,
        )
    }
)
