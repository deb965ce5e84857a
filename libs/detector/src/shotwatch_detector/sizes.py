"""The size of a deviation in physical units, as sentences state it and as severities are decided by it."""

from collections.abc import Mapping

from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import INDICATORS


def size_of(contribution: Contribution, measured: Mapping[str, float]) -> float:
    """Return the size of a feature's deviation; it is negative below the reference.

    It is a share of the peak for the score of a spot. For other features it is in the feature's unit if
    operators read it so, else a share of the reference.

    Args:
        contribution: the deviation.
        measured: all values measured on its device.
    """
    indicator = INDICATORS[contribution.feature]
    if indicator.spot_size:
        return measured[indicator.spot_size]
    difference = contribution.value - contribution.reference
    return difference if indicator.in_unit else difference / abs(contribution.reference)
