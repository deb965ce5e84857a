"""What a model measures of each frame, once there is one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shotwatch_shots.features.spec import EXPLAINS, SCORED_SHOTS, FeatureSpec, Indicator, Side
from shotwatch_shots.vocabulary import AnomalyKind

_SPOTS = (("hot_spot", "excess", "over"), ("dark_spot", "deficit", "under"))


def _spot_specs(spot: str, what: str, over: str) -> Iterator[FeatureSpec]:
    where = f"of the largest local {what} {over} the reconstruction"
    yield FeatureSpec(
        f"{spot}_excess",
        "",
        (-np.inf, np.inf),
        f"Size {where}, as a share of the reference's peak.",
        "",
        SCORED_SHOTS,
    )
    yield FeatureSpec(f"{spot}_x", "px", (0, np.inf), f"Column {where}, from 0.", "", SCORED_SHOTS)
    yield FeatureSpec(f"{spot}_y", "px", (0, np.inf), f"Row {where}, from 0.", "", SCORED_SHOTS)


_PATTERNS = "what the camera's usual patterns explain"
_BESIDE = "compared with those beside it, of what the camera's usual patterns do not explain"


@dataclass(frozen=True, slots=True)
class _Rest:
    """A statistic of what the patterns of a camera leave of a frame."""

    name: str
    what: str
    kind: AnomalyKind
    noun: str
    axes: Mapping[str, str]
    """The coordinates of its position, and what each counts."""


_AXES = {"x": "Column", "y": "Row"}
_RESTS = (
    _Rest("excess", f"local excess, above {_PATTERNS}", AnomalyKind.HOT_SPOT, "hot spot", _AXES),
    _Rest("deficit", f"local deficit, below {_PATTERNS}", AnomalyKind.PROFILE, "dark spot", _AXES),
    _Rest("pixel_excess", f"excess of one pixel, {_BESIDE}", AnomalyKind.HOT_SPOT, "bright pixel", _AXES),
    _Rest("pixel_deficit", f"deficit of one pixel, {_BESIDE}", AnomalyKind.PROFILE, "dark pixel", _AXES),
    *(
        _Rest(f"{line}_{what}", f"{what} of a {line}, {_BESIDE}", AnomalyKind.PROFILE, f"{noun} {line}", axes)
        for line, axes in (("column", {"x": "Number"}), ("row", {"y": "Number"}))
        for what, noun in (("excess", "bright"), ("deficit", "dark"))
    ),
)


def _rest_specs(rest: _Rest) -> Iterator[FeatureSpec]:
    name, what, bounds = rest.name, f"largest {rest.what}", (-np.inf, np.inf)
    indicator = Indicator(rest.kind, rest.noun, Side.HIGH, floor=0.1, spot_size=f"{name}_size")
    yield FeatureSpec(
        name, "σ", bounds, f"{what.capitalize()}, in standard deviations there.", "", SCORED_SHOTS, indicator
    )
    yield FeatureSpec(
        f"{name}_size", "", bounds, f"Size of the {what}, as a share of the peak.", "", SCORED_SHOTS
    )
    for axis, counted in rest.axes.items():
        yield FeatureSpec(
            f"{name}_{axis}", "px", (0, np.inf), f"{counted} of the {what}, from 0.", "", SCORED_SHOTS
        )


SCORES = (
    FeatureSpec(
        "residual",
        "px",
        (0, np.inf),
        "Integral of |image - reconstruction| by the model, in pixels of full brightness.",
        "ELI-NP report RST-2.3, anomaly metric",
        SCORED_SHOTS,
        indicator=Indicator(
            AnomalyKind.PROFILE,
            "what the model cannot reconstruct of the beam profile",
            Side.HIGH,
            relative_floor=0.02,
        ),
    ),
    FeatureSpec(
        "hot_spot",
        "σ",
        (-np.inf, np.inf),
        "Largest local excess over the reconstruction, less the largest deficit.",
        "",
        SCORED_SHOTS,
        indicator=Indicator(
            AnomalyKind.HOT_SPOT, "hot spot", Side.HIGH, floor=0.5, spot_size="hot_spot_excess"
        ),
    ),
    FeatureSpec(
        "dark_spot",
        "σ",
        (-np.inf, np.inf),
        "Largest local deficit of light, less the largest excess.",
        "",
        SCORED_SHOTS,
        indicator=Indicator(
            AnomalyKind.PROFILE, "dark spot", Side.HIGH, floor=0.5, spot_size="dark_spot_excess"
        ),
    ),
    *(spec for spot in _SPOTS for spec in _spot_specs(*spot)),
    FeatureSpec(
        "structure",
        "σ",
        (0, np.inf),
        "Rms over the frame of what the camera's usual patterns do not explain, in standard deviations of "
        "each pixel.",
        "",
        SCORED_SHOTS,
        indicator=EXPLAINS,
    ),
    *(spec for rest in _RESTS for spec in _rest_specs(rest)),
)
