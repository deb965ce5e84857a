"""What may be claimed of how rare a deviation is, after so many independent shots."""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""With this confidence, deviations are rarer than `supported_surprisal` states."""
CLAIMED_BEYOND = 1.0
"""A score ends this far beyond the threshold, or beyond what the learned shots support if that is more.

A tail that was fitted to a few shots is extrapolated to find the threshold, because there is nothing better
before more shots were seen. A rate more than ten times lower than that would be a claim without evidence.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of how rare a deviation is, with what it rests on."""

    score: float
    stated: float
    """The score whose rate may be stated: `score`, or what the shots support if that is less than it."""
    limited: bool
    """Whether the deviation is rarer by the fitted tail than `stated`."""
    provisional: bool
    """Whether the shots support less than the threshold."""
    independent: int
    """Number of independent shots that were learned from."""


def supported_surprisal(independent: int) -> float:
    """Return the surprisal of the rarest rate that this many independent shots support, all of them normal.

    It is the rate p with (1 - p)^n = 1 - CONFIDENCE: about 3 / n (the rule of three).

    Raises:
        ValueError: there is no shot.
    """
    if independent < 1:
        raise ValueError(f"a rate needs at least one shot, not {independent}")
    return float(-np.log10(-np.expm1(np.log1p(-CONFIDENCE) / independent)))


def highest_score(independent: int, threshold: float) -> float:
    """Return the largest score that may be claimed."""
    return max(supported_surprisal(independent), threshold) + CLAIMED_BEYOND


def claim(extrapolated: float, independent: int, threshold: float, by_past: float) -> Claim:
    """Return what may be claimed of a score by a fitted tail.

    It rests on the `independent` shots that were learned from, or on the past of the place, which supports
    the score `by_past`.
    """
    score = min(extrapolated, highest_score(independent, threshold))
    supported = max(supported_surprisal(independent), by_past)
    provisional = supported < threshold
    stated = score if provisional else min(score, supported)
    return Claim(score, stated, stated < extrapolated, provisional, independent)
