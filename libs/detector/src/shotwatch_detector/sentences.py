"""The sentence that explains an anomaly to operators."""

from collections.abc import Mapping

from shotwatch_detector.claims import Claim
from shotwatch_detector.sizes import size_of
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.features.spec import Indicator

_LENGTHS = (("years", 8766.0), ("days", 24.0), ("hours", 1.0))


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
    size = size_of(strongest, measured)
    if indicator.spot_size:
        return f"{_spot(strongest, indicator, size, measured)} ({devices} of {place})"
    return f"{indicator.noun} of {place} is {_distance(size, strongest, indicator)} its reference {devices}"


def chance_of(per_hour: float, claimed: Claim) -> str:
    """Return `by chance once in 12 days`: how often normal shots deviate as much.

    It is `by chance less than once in 12 days` if the claim is limited. A provisional claim ends in
    `(provisional: learned from 11 independent shots)`.
    """
    once = "by chance less than once" if claimed.limited else "by chance once"
    many = claimed.independent
    learned = f" (provisional: learned from {many} independent shot{'s' if many > 1 else ''})"
    return f"{once} {_period(1 / per_hour)}{learned if claimed.provisional else ''}"


def _period(hours: float) -> str:
    for unit, length in _LENGTHS:
        if hours >= 2 * length:
            return f"in {hours / length:.0f} {unit}"
    return "an hour"


def _distance(size: float, contribution: Contribution, indicator: Indicator) -> str:
    side = "above" if size > 0 else "below"
    if indicator.in_unit:
        return " ".join(filter(None, [f"{abs(size):.2g}", contribution.unit, side]))
    return f"{_percent(abs(size))} {side}"


def _percent(share: float) -> str:
    """Return `12 %`, or `0.2 %` for a share of less than one percent."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _spot(spot: Contribution, indicator: Indicator, size: float, measured: Mapping[str, float]) -> str:
    side = "below" if spot.feature.endswith("deficit") or spot.feature == "dark_spot" else "above"
    at = ", ".join(
        f"{axis} = {measured[position]:.0f}"
        for axis in ("x", "y")
        if (position := f"{spot.feature}_{axis}") in measured
    )
    return (
        f"{indicator.noun} on {spot.device} at {at} px, {_percent(size)} of the peak "
        f"{side} what is usual there"
    )
