"""The average run length of a cumulative sum (CUSUM): after how many normal shots it reaches its limit."""

import numpy as np
from scipy.optimize import brentq

OVERSHOOT = 1.166
"""Siegmund's correction for a sum that moves in steps: it acts as if its limit was this much further out."""


def run_length(limit: float, allowance: float) -> float:
    """Return the average number of normal shots until a CUSUM exceeds its limit (Siegmund, 1985).

    The CUSUM is max(0, previous + z - allowance), where z is a standard normal deviate, independent from shot
    to shot. For allowances up to 1 the formula is right to some 5 %.

    Args:
        limit: ≥ 0.
        allowance: > 0.
    """
    exponent = 2 * allowance * (limit + OVERSHOOT)
    return float((np.expm1(exponent) - exponent) / (2 * allowance**2))


def limit_of(shots: float, allowance: float) -> float:
    """Return the limit that a CUSUM of normal shots exceeds once in so many shots on average.

    Raises:
        ValueError: even a CUSUM with the limit 0 takes longer.
    """
    if shots < run_length(0.0, allowance):
        raise ValueError(f"a run length of {shots:g} shots is too short for an allowance of {allowance:g}")
    highest = np.log(2 * allowance**2 * shots + 2) / allowance
    return float(brentq(lambda limit: np.log(run_length(limit, allowance) / shots), 0.0, highest))
