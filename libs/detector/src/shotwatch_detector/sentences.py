"""The sentence that explains an anomaly to operators."""

from collections.abc import Mapping

from shotwatch_shots.event import Contribution
from shotwatch_shots.features import INDICATORS
from shotwatch_shots.features.spec import Indicator
from shotwatch_shots.vocabulary import AnomalyKind

_LENGTHS = (("years", 8766.0), ("days", 24.0), ("hours", 1.0))
_PRACTICALLY_NEVER = 1000
"""In years."""


def explain(
    place: str, strongest: Contribution, showing: int, watching: int, measured: Mapping[str, float]
) -> str:
    """Return `energy of LA A1 11 is 31 % below its reference on 6 of 6 devices`.

    Args:
        place: name of the place.
        strongest: the contribution that the sentence describes.
        showing: number of devices that show it.
        watching: number of devices that could have shown it.
        measured: all values measured on the device of `strongest`.
    """
    devices = f"on {showing} of {watching} device{'s' if watching > 1 else ''}"
    indicator = INDICATORS[strongest.feature]
    if indicator.spot_size:
        return f"{_spot(strongest, indicator, measured)} ({devices} of {place})"
    return f"{indicator.noun} of {place} is {_distance(strongest, indicator)} its reference {devices}"


def chance_of(per_hour: float) -> str:
    """Return `by chance once in 12 days`: how often normal shots at 10 Hz deviate as much."""
    hours = 1 / per_hour
    for unit, length in _LENGTHS:
        if hours >= 2 * length:
            many = hours / length
            return f"by chance once in {many:.0f} {unit}" if many < _PRACTICALLY_NEVER else "never by chance"
    return "by chance once an hour"


def _distance(contribution: Contribution, indicator: Indicator) -> str:
    difference = contribution.value - contribution.reference
    side = "above" if difference > 0 else "below"
    if indicator.in_unit:
        return " ".join(filter(None, [f"{abs(difference):.2g}", contribution.unit, side]))
    return f"{100 * abs(difference / contribution.reference):.0f} % {side}"


def _spot(spot: Contribution, indicator: Indicator, measured: Mapping[str, float]) -> str:
    feature = spot.feature
    side = "above" if indicator.kind is AnomalyKind.HOT_SPOT else "below"
    return (
        f"{indicator.noun} on {spot.device} at x = {measured[f'{feature}_x']:.0f}, "
        f"y = {measured[f'{feature}_y']:.0f} px, {100 * measured[indicator.spot_size]:.0f} % of the peak "
        f"{side} what is usual there"
    )
