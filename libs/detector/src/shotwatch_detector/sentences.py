"""The sentence that explains an anomaly to operators."""

from collections.abc import Mapping

from shotwatch_shots.event import Contribution

_NOUNS = {
    "total_intensity": "energy",
    "energy": "energy",
    "spectrum_rms_width": "bandwidth",
    "spectrum_fwhm": "bandwidth",
    "spectrum_centroid": "centre wavelength",
    "spectrum_sum": "light in the spectrum",
    "spectrum_hole_depth": "depth of the deepest hole in the spectrum",
    "centroid_x": "beam position in x",
    "centroid_y": "beam position in y",
    "d4sigma_major": "beam size",
    "d4sigma_minor": "beam size",
    "ellipticity": "ellipticity",
    "residual": "what the model cannot reconstruct of the beam profile",
    "sharpness": "sharpness",
    "background": "background",
    "dead_pixels": "number of dead pixels",
}
_LENGTHS = (("years", 8766.0), ("days", 24.0), ("hours", 1.0))
_PRACTICALLY_NEVER = 1000
"""In years."""
_SPOTS = {
    "hot_spot": ("hot spot", "excess", "above"),
    "excess": ("hot spot", "size", "above"),
    "dark_spot": ("dark spot", "excess", "below"),
    "deficit": ("dark spot", "size", "below"),
}
"""Name of the spot, the value that holds its size, and whether it is above or below the reference."""
_ABSOLUTE = {
    "spectrum_hole_depth",
    "spectrum_centroid",
    "centroid_x",
    "centroid_y",
    "ellipticity",
    "background",
    "dead_pixels",
}
"""Features whose deviation is given in their unit: a percentage of an arbitrary or very small reference has
no meaning.
"""


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
    if strongest.feature in _SPOTS:
        return f"{_spot(strongest, measured)} ({devices} of {place})"
    return f"{_NOUNS[strongest.feature]} of {place} is {_distance(strongest)} its reference {devices}"


def chance_of(per_hour: float) -> str:
    """Return `by chance once in 12 days`: how often normal shots at 10 Hz deviate as much."""
    hours = 1 / per_hour
    for unit, length in _LENGTHS:
        if hours >= 2 * length:
            many = hours / length
            return f"by chance once in {many:.0f} {unit}" if many < _PRACTICALLY_NEVER else "never by chance"
    return "by chance once an hour"


def _distance(contribution: Contribution) -> str:
    difference = contribution.value - contribution.reference
    side = "above" if difference > 0 else "below"
    if contribution.feature in _ABSOLUTE:
        return " ".join(filter(None, [f"{abs(difference):.2g}", contribution.unit, side]))
    return f"{100 * abs(difference / contribution.reference):.0f} % {side}"


def _spot(spot: Contribution, measured: Mapping[str, float]) -> str:
    feature = spot.feature
    name, size, side = _SPOTS[feature]
    return (
        f"{name} on {spot.device} at x = {measured[f'{feature}_x']:.0f}, "
        f"y = {measured[f'{feature}_y']:.0f} px, {100 * measured[f'{feature}_{size}']:.0f} % of the peak "
        f"{side} what is usual there"
    )
