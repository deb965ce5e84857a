"""The deviation of a column in a shot: in standard deviations, in physical units, and how urgent it is."""

from collections.abc import Mapping

from shotwatch_detector.arrays import Features
from shotwatch_detector.columns import FeatureColumn
from shotwatch_detector.severity import severity_of_deviation
from shotwatch_detector.sizes import size_of
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.vocabulary import Severity


def sort_key(column: FeatureColumn, shot: int) -> tuple[float, float]:
    """Return score and deviation for sorting: scores are limited to a maximum, deviations are not."""
    return float(column.score[shot]), abs(sigmas(column, shot))


def severity_of(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> Severity:
    """Return how urgent the deviation of the column in the shot is."""
    return severity_of_deviation(column.feature, deviation_size(column, features, shot))


def deviation_size(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> float:
    """Return the size of the deviation in physical units (`size_of`)."""
    return size_of(contribution_of(column, shot), measured_values(column, features, shot))


def measured_values(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> dict[str, float]:
    """Return all values that were measured in the shot on the column's device."""
    return {name: float(values[shot]) for name, values in features[column.device].items()}


def sigmas(column: FeatureColumn, shot: int) -> float:
    """Return the deviation in standard deviations; NaN without a value, so that every comparison is false."""
    return float((column.values[shot] - column.baseline.centre) / column.baseline.sigma)


def contribution_of(column: FeatureColumn, shot: int) -> Contribution:
    """Return what the column contributes to an event."""
    return Contribution(
        device=column.device,
        feature=column.feature,
        value=float(column.values[shot]),
        reference=column.baseline.centre,
        sigmas=sigmas(column, shot),
        unit=FEATURE_SPECS[column.feature].unit,
    )
