"""How well scores separate anomalous shots from normal ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from shotwatch_detector.arrays import Values

ONE_AN_HOUR = 2.8e-5
"""One false alarm an hour at 10 Hz: the inverse of its 36,000 shots."""
SHOTS_PER_HOUR = 36_000
RATES = (0.01, 0.001, ONE_AN_HOUR)
"""False-positive rates at which recall is reported."""
CONFIDENCE = 0.95
RESAMPLES = 1000

Blocks = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class ShotScores:
    """Scores of shots, and the block that each shot belongs to: (n,) each."""

    values: Values
    blocks: Blocks


@dataclass(frozen=True, slots=True)
class Auroc:
    """The probability that an anomalous shot scores higher than a normal one, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Alarms among normal shots at the detector's own threshold."""

    normals: int
    alarms: int

    @property
    def per_hour(self) -> float:
        """At 10 Hz."""
        return SHOTS_PER_HOUR * self.alarms / self.normals

    @property
    def most_per_hour(self) -> float:
        """Upper limit at 95 % confidence, Poisson."""
        most = chi2.ppf(CONFIDENCE, 2 * (self.alarms + 1)) / 2
        return float(SHOTS_PER_HOUR * most / self.normals)


def auroc(normal: ShotScores, anomalous: ShotScores, seed: int) -> Auroc:
    """Return the area under the ROC curve (Mann-Whitney, ties count half) with its interval.

    Shots of a block share a recorded frame and are not statistically independent. So whole blocks are
    resampled, of normal and anomalous shots alike.
    """
    names = np.union1d(normal.blocks, anomalous.blocks)
    normals = [np.sort(normal.values[normal.blocks == name]) for name in names]
    odds = [anomalous.values[anomalous.blocks == name] for name in names]
    wins = np.array([[_wins(of_anomalous, of_normal) for of_normal in normals] for of_anomalous in odds])
    counts = np.outer([len(of) for of in odds], [len(of) for of in normals])
    # Each row of weights is one resample: how often it contains each block.
    weights = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), RESAMPLES
    )
    pairs = np.einsum("ra,ab,rb->r", weights, counts, weights)
    resampled = np.einsum("ra,ab,rb->r", weights, wins, weights)[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Auroc(float(wins.sum() / counts.sum()), float(low), float(high))


def _wins(anomalous: Values, ordered: Values) -> float:
    """Return the number of pairs in which the anomalous shot scores higher; ties count half."""
    below, not_above = (np.searchsorted(ordered, anomalous, side).sum() for side in ("left", "right"))
    return float(below + not_above) / 2


def threshold_at(normal: Values, rate: float) -> float:
    """Return the lowest score that at most this share of normal shots exceeds.

    With fewer than 1 / rate shots it is their maximum, and a longer test would find a higher one.
    """
    at = len(normal) - 1 - int(rate * len(normal))
    return float(np.partition(normal, at)[at])


def recall(anomalous: Values, threshold: float) -> float:
    """Return the share of anomalous shots that score higher than a threshold."""
    return float((anomalous > threshold).mean())


def severity_found(severities: Sequence[float], recalls: Sequence[float], share: float) -> float | None:
    """Return the severity of which this share is found, interpolated between two that were tried, or None.

    Args:
        severities: ascending, from zero.
        recalls: at each of them.
        share: such as 0.5.
    """
    tried = zip(severities, recalls, strict=True)
    for (lower, before), (upper, after) in pairwise(tried):
        if before < share <= after:
            return lower + (upper - lower) * (share - before) / (after - before)
    return None
