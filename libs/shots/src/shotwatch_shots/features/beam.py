"""What is measured of each frame of a beam."""

import numpy as np

from shotwatch_shots.features.spec import EXPLAINS, ISO_BEAM, REFERRED_SHOTS, FeatureSpec, Indicator, Side
from shotwatch_shots.vocabulary import AnomalyKind

ISO_FLUENCE = "ISO 13694"
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

BEAM_FEATURES = (
    FeatureSpec(
        "total_intensity",
        "counts",
        (-np.inf, np.inf),
        "Sum of the whole frame above background, without hot pixels.",
        indicator=Indicator(AnomalyKind.ENERGY, "energy", relative_floor=0.003),
    ),
    FeatureSpec("peak_intensity", "counts", (-np.inf, np.inf), "Brightest pixel above background."),
    FeatureSpec(
        "background",
        "counts",
        (0, 65535),
        "Level of the unlit pixels at the frame's centre: a plane through those of the whole frame.",
        "ISO/TR 11146-3",
        indicator=Indicator(AnomalyKind.PROFILE, "background", floor=0.1, in_unit=True),
    ),
    FeatureSpec(
        "background_noise",
        "counts",
        (0, 65535),
        "Standard deviation of the unlit pixels about their plane.",
        "ISO/TR 11146-3",
    ),
    FeatureSpec(
        "centroid_x",
        "px",
        (-np.inf, np.inf),
        f"Column of the centre of light, from 0. {_NO_BEAM}",
        ISO_BEAM,
        indicator=Indicator(AnomalyKind.POINTING, "beam position in x", floor=0.03, in_unit=True),
    ),
    FeatureSpec(
        "centroid_y",
        "px",
        (-np.inf, np.inf),
        f"Row of the centre of light, from 0. {_NO_BEAM}",
        ISO_BEAM,
        indicator=Indicator(AnomalyKind.POINTING, "beam position in y", floor=0.03, in_unit=True),
    ),
    FeatureSpec(
        "d4sigma_major",
        "px",
        (0, np.inf),
        "Beam width along the major axis: four standard deviations of the light above background, within the "
        f"self-convergent rectangle of three beam widths. {_NO_BEAM}",
        ISO_BEAM,
        indicator=Indicator(AnomalyKind.BEAM_SIZE, "beam size", relative_floor=0.003),
    ),
    FeatureSpec(
        "d4sigma_minor",
        "px",
        (0, np.inf),
        f"Beam width along the minor axis. {_NO_BEAM}",
        ISO_BEAM,
        indicator=Indicator(AnomalyKind.BEAM_SIZE, "beam size", relative_floor=0.003),
    ),
    FeatureSpec(
        "orientation",
        "rad",
        (-np.pi / 2, np.pi / 2),
        "Angle from the x axis to the major axis, counter-clockwise as the frame is shown (row 0 on top). "
        f"Ill-determined above an ellipticity of 0.87, where ISO calls a beam circular. {_NO_BEAM} "
        "NaN also when both widths are the same.",
        ISO_BEAM,
    ),
    FeatureSpec(
        "ellipticity",
        "",
        (0, 1),
        f"Minor over major beam width; 1 is circular. {_NO_BEAM} NaN also for light on a single pixel.",
        ISO_BEAM,
        indicator=Indicator(AnomalyKind.BEAM_SIZE, "ellipticity", floor=0.003, in_unit=True),
    ),
    FeatureSpec("saturated_pixels", "pixels", (0, np.inf), "Pixels at or above the saturation level."),
    FeatureSpec(
        "dead_pixels",
        "pixels",
        (0, np.inf),
        "Dark pixels amid light: no brighter than the background's noise, while both neighbours in the row, "
        "or both in the column, have a tenth of the peak. Finds pixels, rows and columns where light is.",
        indicator=Indicator(AnomalyKind.PROFILE, "number of dead pixels", Side.HIGH, floor=1.0, in_unit=True),
    ),
    FeatureSpec(
        "hot_pixels",
        "pixels",
        (0, np.inf),
        "Single pixels that are brighter than all their neighbours by more than eight standard deviations of "
        "the noise, and above the darkest neighbour by more than six times the range of the neighbours. "
        "Centroid, widths and total intensity are measured without them.",
    ),
    FeatureSpec(
        "effective_area",
        "px²",
        (1, np.inf),
        f"(Σ E)² / Σ E² over the fluence E above noise: an evenly lit area is its own. {_NO_BEAM}",
        "Effective mode area",
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "fluence_uniformity",
        "",
        (0, np.inf),
        f"Beam uniformity: rms deviation of the fluence from its mean, over that mean, {_CLIPPED}; "
        f"0 is even. {_NO_BEAM}",
        ISO_FLUENCE,
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "flatness",
        "",
        (0, 9),
        f"Flatness factor: mean fluence {_CLIPPED}, over that maximum; 1 is flat, more than 1 occurs only "
        f"for light on a few pixels. {_NO_BEAM}",
        ISO_FLUENCE,
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "plateau_uniformity",
        "",
        (0, 1.5),
        "Full width at half maximum of the peak that the histogram of fluence has near its maximum, over "
        f"{_MAXIMUM}. Small for a flat top, though not below the bin of 1/64; near 1 without a plateau. "
        f"{_NO_BEAM}",
        ISO_FLUENCE,
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "edge_steepness",
        "",
        (0, 1),
        "Share of the area above a tenth of the maximum fluence that is not above nine tenths of it; 0 is a "
        f"vertical edge. The maximum is the largest mean over 3 x 3 pixels. {_NO_BEAM}",
        ISO_FLUENCE,
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "peak_to_average",
        "",
        (1, np.inf),
        f"Brightest single pixel over the mean fluence {_CLIPPED}. {_NO_BEAM}",
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "encircled_radius_50",
        "px",
        (0, np.inf),
        "Radius of the circle about the light's centroid that holds 50 % of the light above noise. "
        f"{_NO_BEAM}",
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "encircled_radius_86",
        "px",
        (0, np.inf),
        "Radius of the circle about the light's centroid that holds 86.5 % of the light above noise: "
        f"1 - 1/e², two standard deviations of a round Gaussian. {_NO_BEAM}",
        indicator=EXPLAINS,
    ),
    FeatureSpec(
        "spot_excess",
        "",
        (-np.inf, np.inf),
        f"Largest local excess: {_CONTRAST}. {_SELF_CONTRAST} {_NO_SPOT}",
        indicator=EXPLAINS,
    ),
    FeatureSpec("spot_x", "px", (0, np.inf), f"Column of the largest local excess, from 0. {_NO_SPOT}"),
    FeatureSpec("spot_y", "px", (0, np.inf), f"Row of the largest local excess, from 0. {_NO_SPOT}"),
    FeatureSpec(
        "spot_size",
        "pixels",
        (0, 121),
        "Pixels within 11 x 11 that exceed the ring's mean by more than half of the largest local excess. "
        f"{_NO_SPOT}",
    ),
    FeatureSpec(
        "hole_deficit",
        "",
        (-np.inf, np.inf),
        f"Largest local deficit within the light: {_CONTRAST}. {_SELF_CONTRAST} {_NO_HOLE}",
        indicator=EXPLAINS,
    ),
    FeatureSpec("hole_x", "px", (0, np.inf), f"Column of the largest local deficit, from 0. {_NO_HOLE}"),
    FeatureSpec("hole_y", "px", (0, np.inf), f"Row of the largest local deficit, from 0. {_NO_HOLE}"),
    FeatureSpec(
        "hole_size",
        "pixels",
        (0, 121),
        "Pixels within 11 x 11 that fall short of the ring's mean by more than half of the largest local "
        f"deficit. {_NO_HOLE}",
    ),
    FeatureSpec(
        "sharpness",
        "",
        (0, np.inf),
        "Share of the squared fluence that lies in structure finer than 3 x 3 pixels, noise included; less "
        f"when the image is out of focus. {_NO_SPOT}",
        indicator=Indicator(AnomalyKind.BEAM_SIZE, "sharpness", Side.LOW, relative_floor=0.005),
    ),
)

POINTING_FEATURES = (
    FeatureSpec(
        "pointing_x",
        "px",
        (-np.inf, np.inf),
        "Column of the centre of light, from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
    FeatureSpec(
        "pointing_y",
        "px",
        (-np.inf, np.inf),
        "Row of the centre of light, from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
    FeatureSpec(
        "pointing",
        "px",
        (0, np.inf),
        "Distance of the centre of light from that of the camera's reference.",
        ISO_BEAM,
        REFERRED_SHOTS,
    ),
)
