"""What is measured in detail, of some frames only."""

from collections.abc import Iterator

import numpy as np

from shotwatch_shots.features.spec import DETAILED_SHOTS, FeatureSpec

_GAUSSIAN_SPECS = (
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


def _fit_specs(prefix: str, fit: str, fitted: str) -> Iterator[FeatureSpec]:
    for n, which in _GAUSSIANS.items():
        for name, unit, bounds, what in _GAUSSIAN_SPECS:
            description = f"{what} of the Gaussian {which}, of three that are {fitted}."
            yield FeatureSpec(
                f"{prefix}gaussian{n}_{name}", unit, bounds, description, _REPORT_FIT, DETAILED_SHOTS
            )
    error = f"Rms error of the three Gaussians {fitted}, over the frame's maximum less its minimum."
    yield FeatureSpec(f"{fit}_error", "", (0, 1), error, _REPORT_FIT, DETAILED_SHOTS)
    ended = f"1 when the search for the three Gaussians {fitted} ended at a minimum, else 0."
    yield FeatureSpec(f"{fit}_converged", "", (0, 1), ended, _REPORT_FIT, DETAILED_SHOTS)


DETAILED_FEATURES = (
    *(spec for fit in _FITS for spec in _fit_specs(*fit)),
    FeatureSpec(
        "component1",
        "σ",
        (-np.inf, np.inf),
        "First principal component of the three Gaussians' parameters, from those of the camera's reference.",
        _REPORT_FIT,
        DETAILED_SHOTS,
    ),
    FeatureSpec(
        "component2",
        "σ",
        (-np.inf, np.inf),
        "Second principal component of the three Gaussians' parameters.",
        _REPORT_FIT,
        DETAILED_SHOTS,
    ),
    FeatureSpec(
        "distance_to_reference",
        "px",
        (0, np.inf),
        "Sliced 1-Wasserstein distance of the light above noise to the camera's reference, over 32 "
        "directions: how far light would have to be moved.",
        "ELI-NP report RST-2.3, similarity",
        DETAILED_SHOTS,
    ),
)
