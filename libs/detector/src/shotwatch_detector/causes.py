"""Which deviation of a shot is only a consequence of another one."""

from collections.abc import Mapping, Sequence

from shotwatch_detector.arrays import Features
from shotwatch_detector.columns import FeatureColumn
from shotwatch_detector.deviations import deviation_size, severity_of, sort_key
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.vocabulary import AnomalyKind, Severity

_MOVED = frozenset({AnomalyKind.POINTING, AnomalyKind.BEAM_SIZE})
CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.HOT_SPOT: _MOVED,
    AnomalyKind.PROFILE: _MOVED,
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.BANDWIDTH}),
    AnomalyKind.WAVELENGTH: frozenset({AnomalyKind.BANDWIDTH}),
}
"""A kind is not reported for a device that shows one of its causes: it is only a consequence of that cause.

A beam that moved or changed its size leaves light where there was none before. A spot of a few pixels does
not hold enough light to move the beam far. So a critical deviation is no consequence of one that is too small
to be a warning.
"""

_SPOTS = frozenset({AnomalyKind.HOT_SPOT, AnomalyKind.PROFILE})
_OF_PROFILE = frozenset({AnomalyKind.PROFILE, AnomalyKind.BEAM_SIZE})

COMMON_CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.ENERGY})
}
"""Causes that count for all devices of a shot: less light in the pulse means less light in its spectrum."""


def follows(
    column: FeatureColumn, anomalous: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> bool:
    """Return whether the deviation of a column is only a consequence of another one in the same shot."""
    if column.kind is None:
        return False
    own, common = CAUSES.get(column.kind, frozenset()), COMMON_CAUSES.get(column.kind, frozenset())
    critical = severity_of(column, features, shot) is Severity.CRITICAL
    on_device = [other for other in anomalous if other.device == column.device]
    if column.kind in _SPOTS and _is_smaller_spot(column, on_device, features, shot):
        return True
    if any(
        other.kind in own and not (critical and severity_of(other, features, shot) is Severity.INFO)
        for other in on_device
    ):
        return True
    return any(_outweighs(other, column, anomalous, shot) for other in on_device) or any(
        other.kind in common for other in anomalous
    )


def _is_smaller_spot(
    column: FeatureColumn, on_device: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> bool:
    """Return whether a bright deviation of the profile is a consequence of a dark one, or the reverse.

    A bright or dark spot changes the average of the rest of the frame, and so leaves a smaller deviation of
    the opposite sign. It also lies in a column and a row, and changes their mean a little. So the kind with
    the larger share of the peak is the cause. What has no place on the frame is compared by its score.
    """
    of_kind = [other for other in on_device if other.kind is column.kind]
    others = [other for other in on_device if other.kind in _SPOTS and other.kind is not column.kind]
    if _has_place(column):
        largest = _largest(of_kind, features, shot)
        if _largest(others, features, shot) > largest:
            return True
        others = [other for other in others if not _has_place(other)]
    strongest = max(sort_key(other, shot) for other in of_kind)
    return any(sort_key(other, shot) > strongest for other in others)


def _has_place(column: FeatureColumn) -> bool:
    return bool(INDICATORS[column.feature].spot_size)


def _largest(columns: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int) -> float:
    """Return the largest share of the peak of the deviations that have a place on the frame."""
    return max(
        (abs(deviation_size(column, features, shot)) for column in columns if _has_place(column)),
        default=0.0,
    )


def _outweighs(
    other: FeatureColumn, column: FeatureColumn, anomalous: Sequence[FeatureColumn], shot: int
) -> bool:
    """Return whether `other` is the cause of `column`, where each of the two kinds can cause the other.

    A clipped or widened beam loses light, and a fainter beam has less light at its rim. If other devices lose
    energy too, energy is the cause; otherwise the kind with the higher score is.
    """
    kinds = {other.kind, column.kind}
    if AnomalyKind.ENERGY not in kinds or not kinds & _OF_PROFILE:
        return False
    energy_is_common = len({c.device for c in anomalous if c.kind is AnomalyKind.ENERGY}) > 1
    if energy_is_common:
        return other.kind is AnomalyKind.ENERGY
    return bool(other.score[shot] > column.score[shot])
