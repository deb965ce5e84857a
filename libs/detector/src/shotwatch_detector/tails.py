"""The tail of a statistic: how improbable a deviation is, as far as the shots that were seen can show it.

A threshold lies far beyond all shots that were seen, so it is extrapolated. How far the extrapolation may be
wrong depends on their number. The tail is therefore predictive: its probabilities are averaged over all tails
that the shots and what is known of such statistics allow. With few shots it is long.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtri, log_ndtr, ndtri_exp
from scipy.stats import norm, rankdata

from shotwatch_detector.arrays import Values
from shotwatch_shots.features.spec import Side

TAIL_SHARES = np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])
"""Points at which the tail is fitted: the deviations that these shares of the shots exceed."""
FEWEST_BEYOND = 4
"""Shots that must lie beyond the last of these points: fewer do not determine where it is."""
MOST_POINTS = 5
"""The outermost points count: what is nearest to the threshold shows best how to extrapolate to it."""
TRUSTED_SHARE = 0.02
"""One shot in a hundred may be an anomaly. Points further out count only where they agree with the tail so
far.
"""
OUTER_SHARE = 0.02
"""The tail is no shorter than the points from this one on outwards; the inner ones only show its shape."""
OUTLIER_SURPRISAL = 3.0
"""Calibration shots that the tail predicts only once in a thousand times their number are treated as
anomalies.
"""
HEAVIEST = 0.47
"""The smallest shape of a tail. 0.58 is about exponential."""
HEAVIER = 1.4
"""A tail that is heavier than normal where shots are seen is heavier still beyond, such as that of a logistic
distribution or of a maximum (Gumbel). The measured difference of its shape from 1 is multiplied by this.
"""
RESERVE = 2.0
"""Divided by the root of the number of shots: the relative reserve added to the length of a measured tail, as
no statistic has exactly the form that is fitted.
"""
SURPRISAL_OF_REACH = 2.0
"""One shot in a hundred."""
DECIDING_SURPRISAL = 6.0
"""Once in a million shots: about here lies the limit between normal and anomalous shots."""
BLOCKS = 9
"""Number of stretches of time between which shots may differ."""
BY_CHANCE = 0.05
"""Stretches differ if independent shots would differ as much with this probability at most."""
SURPRISAL_OF_SIDE = {Side.BOTH: 0.0, Side.HIGH: np.log10(2), Side.LOW: np.log10(2)}
"""A deviation to one side only is half as probable as one to either side."""
_NODES, _WEIGHTS = hermegauss(15)
_SHARES = _WEIGHTS / _WEIGHTS.sum()
"""Points and weights of an average over a normal distribution (Gauss-Hermite)."""


def _deviates(surprisals: Values | float) -> Values:
    """Return the distances from the mean that a normal deviate exceeds with these surprisals."""
    deviates: Values = -ndtri_exp(-np.log(10) * np.asarray(surprisals) - np.log(2))
    return deviates


def _surprisals(deviates: Values) -> Values:
    surprisals: Values = -(log_ndtr(-deviates) + np.log(2)) / np.log(10)
    return surprisals


_DEVIATE_OF_REACH = float(_deviates(SURPRISAL_OF_REACH))


@dataclass(frozen=True, slots=True)
class Tail:
    """The probability that a normal shot deviates by d or more to the side that matters.

    It is the probability that a normal deviate is at least z from its mean, z = z₀ (d / reach)^shape, with
    probability 1 % at z₀ = 2.58. So a normal distribution is extrapolated as what it is, and a heavier one
    (shape < 1) as far as it is heavier.
    """

    reach: float
    """Deviation that one shot in a hundred exceeds to either side, or one in two hundred to the only side."""
    shape: float

    def surprisals(self, distances: Values) -> Values:
        """Return the surprisal of deviations to that side, ≥ 0: (n,)."""
        return _surprisals(_DEVIATE_OF_REACH * (distances / self.reach) ** self.shape)

    def distance(self, surprisal: float) -> float:
        """Return the deviation that has this surprisal."""
        return float(self.reach * (_deviates(surprisal) / _DEVIATE_OF_REACH) ** (1 / self.shape))


@dataclass(frozen=True, slots=True)
class Heaviness:
    """The prior distribution of 1 / shape of a statistic's tail, before any shot is seen: normal."""

    mean: float
    sigma: float


def tail_of_weibull(tail: Tail, side: Side) -> Tail:
    """Return the tail that is nearest to P(≥ d) = 100^-(d / reach)^shape, as bundles before format 5 have it.

    The two agree for one shot in a hundred, and where anomalies begin.
    """
    surprisals = np.array([SURPRISAL_OF_REACH, DECIDING_SURPRISAL])
    distances = tail.reach * (surprisals / SURPRISAL_OF_REACH) ** (1 / tail.shape)
    return _through(distances, surprisals - SURPRISAL_OF_SIDE[side])


def fit_tail(deviations: Values, side: Side, smallest_reach: float, known: Heaviness) -> Tail:
    """Fit the tail of deviations, in the order of time, to the side that matters.

    It is fitted first to the inner part of the deviations, then to all that do not contradict the first fit.
    """
    distances, shots = distances_to(deviations, side), effective_shots(deviations)
    shares = TAIL_SHARES[TAIL_SHARES * shots >= FEWEST_BEYOND][-MOST_POINTS:]
    shortest = Tail(smallest_reach, 1.0)
    # With too few shots for any quantile, the tail is the heaviest one with the largest measured reach.
    if not len(shares):
        return Tail(max(smallest_reach, float(distances.max(initial=0.0))), HEAVIEST)
    inner = _predictive(distances, shares[shares >= TRUSTED_SHARE], side, shots, known, shortest)
    expected = inner.surprisals(distances) < OUTLIER_SURPRISAL + np.log10(len(distances))
    return _predictive(distances[expected], shares, side, shots, known, shortest)


def distances_to(deviations: Values, side: Side) -> Values:
    """Return how far deviations are to the side that matters: ≥ 0, NaN where they are NaN."""
    match side:
        case Side.BOTH:
            return np.abs(deviations)
        case Side.HIGH:
            return np.maximum(deviations, 0.0)
        case Side.LOW:
            return np.maximum(-deviations, 0.0)


def effective_shots(values: Values) -> float:
    """Return how many independent shots would show as much as these n, which are in the order of time.

    If stretches of time differ by more than chance, the shots of a stretch share something. They differ by
    H, Kruskal and Wallis's test, whose mean for independent shots is the number of stretches less one.
    """
    parts = np.array_split(rankdata(values), BLOCKS)
    if len(values) < BLOCKS or np.ptp(values) == 0:
        return float(len(values))
    means, sizes = np.array([part.mean() for part in parts]), np.array([len(part) for part in parts])
    middle = (len(values) + 1) / 2
    h = 12 * (sizes * np.square(means - middle)).sum() / (len(values) * (len(values) + 1))
    limit = float(chdtri(BLOCKS - 1, BY_CHANCE))
    return float(len(values) * limit / max(h, limit))


def _predictive(
    distances: Values, shares: Values, side: Side, shots: float, known: Heaviness, shortest: Tail
) -> Tail:
    """Return the predictive tail of distances by the points that these shares exceed, at least `shortest`."""
    quantiles = np.quantile(distances, 1 - shares)
    shares, quantiles = shares[quantiles > 0], quantiles[quantiles > 0]
    if not len(shares):
        return shortest
    surprisals = -np.log10(shares) - SURPRISAL_OF_SIDE[side]
    posterior = _posterior(quantiles, _deviates(surprisals), shares, shots, known)
    at = np.array([SURPRISAL_OF_REACH, DECIDING_SURPRISAL]) - SURPRISAL_OF_SIDE[side]
    fitted = _through(np.array([posterior.distance(surprisal) for surprisal in at]), at)
    measured = quantiles * (_DEVIATE_OF_REACH / _deviates(surprisals)) ** (1 / fitted.shape)
    reach = max(fitted.reach, float(measured[shares <= OUTER_SHARE].max(initial=0.0)))
    reserve = 1 + RESERVE / np.sqrt(shots)
    return max(
        Tail(reach * reserve, fitted.shape), shortest, key=lambda tail: tail.distance(DECIDING_SURPRISAL)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    """The tails that the shots allow: log d = log_distance + heaviness (log z - log_deviate).

    Log distance at the outermost point that was measured, and heaviness (1 / shape), are normal.
    """

    log_deviate: float
    mean: Values
    """Of log distance and heaviness: (2,)."""
    covariance: NDArray[np.float64]

    def distance(self, surprisal: float) -> float:
        """Return the deviation that has this surprisal, on average over these tails."""
        (level, slope), ((variance, shared), (_, of_slope)) = self.mean, self.covariance
        steps = np.sqrt(of_slope) * _NODES
        rest = np.sqrt(max(variance - shared**2 / of_slope, 0.0)) * _NODES
        levels = (level + shared / of_slope * steps)[:, np.newaxis] + rest
        slopes = np.clip(slope + steps, 1.0, 1 / HEAVIEST)[:, np.newaxis]
        if _deviates(surprisal) > np.exp(self.log_deviate):
            slopes = _beyond(slopes)

        def excess(log_distance: float) -> float:
            deviates = np.exp(self.log_deviate + (log_distance - levels) / slopes)
            chance = _SHARES @ 10.0 ** -_surprisals(deviates) @ _SHARES
            return float(np.log10(max(chance, np.finfo(float).tiny)) + surprisal)

        return float(np.exp(brentq(excess, level - 10, level + 20)))


def _posterior(
    quantiles: Values, deviates: Values, shares: Values, shots: float, known: Heaviness
) -> _Posterior:
    """Return the tails that these quantiles allow, from what is known and what so many shots can show.

    The covariance of the logarithms of quantiles of a normal distribution is p (1 - q) / (n f(p) f(q)) for
    shares p ≤ q, f being their density over the logarithm; heavier tails stretch it.
    """
    logs = np.log(deviates)
    from_last = np.stack([np.ones_like(logs), logs - logs[-1]], axis=1)
    # For a one-sided statistic the density is half as high: as the share is of that of both sides.
    density = deviates * norm.pdf(deviates) * shares / norm.sf(deviates)
    below, above = np.minimum.outer(shares, shares), np.maximum.outer(shares, shares)
    scatter = below * (1 - above) / (shots * np.outer(density, density)) * known.mean**2
    weights = np.linalg.solve(scatter, from_last).T
    prior = np.array([0.0, 1 / known.sigma**2])
    covariance = np.linalg.inv(weights @ from_last + np.diag(prior))
    mean = covariance @ (weights @ np.log(quantiles) + prior * known.mean)
    return _Posterior(float(logs[-1]), mean, covariance)


def _beyond(slopes: Values) -> Values:
    """Return how heavy tails are beyond what was seen, from how heavy they are there: 1 / shape (n,)."""
    shapes = 1 - HEAVIER * (1 - 1 / slopes)
    return 1 / np.maximum(shapes, HEAVIEST)


def _through(distances: Values, surprisals: Values) -> Tail:
    """Return the tail with these two distances at these surprisals to either side: (2,) each."""
    deviates = _deviates(surprisals)
    shape = float(np.log(deviates[1] / deviates[0]) / np.log(distances[1] / distances[0]))
    return Tail(float(distances[0] * (_DEVIATE_OF_REACH / deviates[0]) ** (1 / shape)), shape)
