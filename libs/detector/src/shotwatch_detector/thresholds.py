"""The thresholds of a series: from its share of the facility's false alarms, and from its own past.

People watch the whole facility, so the budget is the number of false alarms an hour of all series together.
Each series of the facility file has an equal share of it, and so has each question of a series (`columns`). A
slow series has fewer shots for its share, so its threshold is lower: one false alarm in 15 hours is one in
540,000 shots at 10 Hz, and one in 900 shots at one a minute.

The fitted tails decide until a series has a past of its own. Then the normal shots of the last three days do
(`own_thresholds`). They are counted in time blocks as long as the pause that ends an incident: what happens
in one block is one alarm for people, and shots of different blocks are independent.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from shotwatch_detector.arrays import Values
from shotwatch_detector.claims import CONFIDENCE
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.facility import Facility
from shotwatch_shots.feedback import ShotSpan
from shotwatch_shots.models import BlockScores, OwnThresholds, ScoredHour
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import Times
from shotwatch_shots.vocabulary import AnomalyKind

SHOTS_PER_HOUR = 36_000
"""At 10 Hz."""


@dataclass(frozen=True, slots=True)
class Share:
    """The false alarms that one series may raise."""

    per_hour: float
    """> 0; of all its questions together."""
    shots_per_hour: float = SHOTS_PER_HOUR
    """While the laser fires at the period of the series."""

    @property
    def run_length(self) -> float:
        """Number of normal shots from one false alarm to the next."""
        return self.shots_per_hour / self.per_hour

    @property
    def threshold(self) -> float:
        """The score that normal shots exceed this often, ≥ 0."""
        return float(max(0.0, np.log10(self.run_length)))

    def part(self, size: float) -> "Share":
        """Return a part of this share; `size` is relative to it."""
        return replace(self, per_hour=size * self.per_hour)

    def per_hour_of(self, score: float) -> float:
        """Return how often in an hour normal shots have a higher score than this."""
        return float(self.shots_per_hour / 10**score)


@dataclass(frozen=True, slots=True)
class SeriesThresholds:
    """The thresholds by which the shots of a series are judged: by its share, and by its past."""

    share: Share
    past: OwnThresholds | None = None
    """None: the fitted tails decide."""

    @property
    def score(self) -> float:
        """The score above which a shot is an anomaly. It is the same for all questions (`scaled`)."""
        return self.share.threshold

    @property
    def supported(self) -> float:
        """The score that the past supports, 0 without one."""
        per_hour = self.past and self.past.supported_per_hour
        return Share(per_hour, self.share.shots_per_hour).threshold if per_hour else 0.0

    @property
    def of_runs(self) -> "SeriesThresholds":
        """Those for medians of runs, which have no past of their own."""
        return SeriesThresholds(self.share, self.past and replace(self.past, own={}))

    def factor(self, kind: AnomalyKind | None) -> float:
        """Return the factor of a question's scores by which its own threshold becomes `score`."""
        own = self.past.own.get(kind) if self.past and kind else None
        return self.score / own if own else 1.0


ONE_AN_HOUR = SeriesThresholds(Share(1.0))
"""One false alarm an hour, at 10 Hz."""


def share_of(series: ShotSeries, facility: Facility, per_hour: float) -> Share:
    """Return the share of a series in the facility's false alarms an hour.

    Raises:
        KeyError: the facility file does not list the interval.
    """
    shots = HOUR_MS / facility.interval(series.interval).period_ms
    return Share(per_hour / max(1, len(facility.places)), shots)


PAST_HOURS = 72
"""Length of the past that sets thresholds: a weekend is shorter, and the state of a laser lasts longer."""
FEWEST_HOURS = 8
"""Hours of normal shots that a past needs; it begins a day ago or earlier, to include a whole day."""
DAY_HOURS = 24
FEWEST_BEYOND = 4
"""Fewest blocks of the past with a score above the one on which a threshold rests."""
BEYOND_EXPECTED = 2
"""And at least this many times as many blocks as may exceed the threshold itself: those are left out."""
SLOPE_BLOCKS = 8
"""This many times as many blocks show how fast the scores get rarer."""
CHANGE_PER_DAY = 0.1
"""No threshold differs by more than this share from any that it had within the last day."""


def hour_of(pulses: Times) -> int:
    """Return the hour (since the epoch) of the first of these pulses (n,), n ≥ 1."""
    return int(pulses.min()) // HOUR_MS


def past_of(hour: int) -> ShotSpan:
    """Return start and end of the past of an hour (since the epoch), in epoch ms."""
    return (hour - PAST_HOURS) * HOUR_MS, hour * HOUR_MS


def block_scores(
    blocks: Times,
    questions: Mapping[AnomalyKind, Values],
    anomalous: Collection[int],
    alarmed: Collection[int],
) -> BlockScores:
    """Return the scores of n shots by time blocks.

    Args:
        blocks: the block of each shot, (n,), n ≥ 1.
        questions: question → score by the fitted tails, (n,) each.
        anomalous: indices of the shots that a rule or the model found anomalous.
        alarmed: indices of those that the model found anomalous.
    """
    order = np.argsort(blocks, kind="stable")
    numbers, starts = np.unique(blocks[order], return_index=True)
    of_blocks = {
        kind: dict(zip(numbers.tolist(), np.maximum.reduceat(scores[order], starts).tolist(), strict=True))
        for kind, scores in questions.items()
    }
    found = BlockScores(
        frozenset(numbers.tolist()),
        frozenset(blocks[list(anomalous)].tolist()),
        frozenset(blocks[list(alarmed)].tolist()),
        {kind: {b: score for b, score in of.items() if score > 0} for kind, of in of_blocks.items()},
    )
    return BlockScores().merged(found)


def own_thresholds(
    past: Sequence[ScoredHour], confirmed: Iterable[ShotSpan], hour: int, share: Share, block_ms: int
) -> OwnThresholds:
    """Return the thresholds of a series in an hour from the hours before it.

    Args:
        past: the hours of the last PAST_HOURS that have shots, in their order.
        confirmed: spans of the incidents that people confirmed, epoch ms.
        hour: in hours since the epoch.
        share: of the series.
        block_ms: length of a time block, in ms.
    """
    if not past:
        return OwnThresholds(share.threshold)
    left_out = {block for one, last in confirmed for block in range(one // block_ms, last // block_ms + 1)}
    normal = frozenset(block for each in past for block in each.scores.normal) - left_out
    highest = _highest_of(past, normal)
    per_block = share.per_hour * block_ms / HOUR_MS
    is_enough = past[0].hour <= hour - DAY_HOURS and len(normal) * block_ms >= FEWEST_HOURS * HOUR_MS
    rate = per_block / max(1, len(highest))
    wanted = {
        kind: threshold_of(np.array(sorted(of.values(), reverse=True)), len(normal), rate)
        if is_enough
        else None
        for kind, of in highest.items()
    }
    own = dict(_bounded(wanted, past, hour))
    alarmed = {block for each in past for block in each.scores.alarmed} - left_out
    above = {b for kind, of in highest.items() for b, s in of.items() if s > own.get(kind, share.threshold)}
    exceeded = incidents_of(alarmed | above)
    supported = most_exceeding(exceeded, len(normal) + exceeded) * HOUR_MS / block_ms
    return OwnThresholds(share.threshold, own, past[0].hour, len(normal), supported)


def threshold_of(highest: Values, blocks: int, rate: float) -> float | None:
    """Return the score that the highest one of a block exceeds at this rate, from the blocks of the past.

    Blocks with an anomalous shot are left out. So nothing is seen beyond the threshold of that time, and the
    score of the very rank would sink each time that it is set anew. The threshold is therefore the score of a
    block further inside, continued to the rate. If the tail is exponential, differences of successive scores
    times their rank are independent and have one exponential distribution (Rényi 1953). Scores are
    surprisals, whose tail is exponential where the fitted tails are right. The continuation is predictive:
    the chance to exceed it is `rate` on average over all slopes that the differences allow.

    Args:
        highest: the highest scores of the past in descending order, > 0.
        blocks: number of normal blocks in the past.
        rate: the share of blocks that may exceed the threshold, > 0.

    Returns:
        None if fewer blocks than this needs have a score.
    """
    expected = blocks * rate
    nearest = max(FEWEST_BEYOND, math.ceil(BEYOND_EXPECTED * expected))
    last = SLOPE_BLOCKS * nearest
    if len(highest) < last:
        return None
    ranks = np.arange(nearest, last)
    # On average, `expected` blocks with higher scores were left out, which shifts the ranks of the others.
    differences = (ranks + expected) * (highest[ranks - 1] - highest[ranks])
    beyond, count = (nearest + expected) / expected, len(ranks)
    return float(highest[nearest - 1] + count * differences.mean() * (beyond ** (1 / count) - 1))


def most_exceeding(exceeded: int, blocks: int) -> float:
    """Return the largest share of blocks that may exceed a threshold if so many did, with 95 % confidence.

    It is the upper limit of Clopper and Pearson, from the binomial distribution.
    """
    return 1.0 if exceeded >= blocks else float(betaincinv(exceeded + 1, blocks - exceeded, CONFIDENCE))


def incidents_of(blocks: Collection[int]) -> int:
    """Return how many incidents these blocks are: adjacent ones belong to one."""
    return sum(block - 1 not in blocks for block in blocks)


def _highest_of(past: Sequence[ScoredHour], normal: frozenset[int]) -> dict[AnomalyKind, dict[int, float]]:
    kinds = sorted({kind for each in past for kind in each.scores.highest})
    return {
        kind: {
            block: score
            for each in past
            for block, score in each.scores.highest.get(kind, {}).items()
            if block in normal
        }
        for kind in kinds
    }


def _bounded(
    wanted: Mapping[AnomalyKind, float | None], past: Sequence[ScoredHour], hour: int
) -> Iterator[tuple[AnomalyKind, float]]:
    """Yield the threshold of each question that has one of its own, near those of the last day.

    A question for which the past has too few scores keeps the threshold that it has.
    """
    recent = [each for each in past if each.hour >= hour - DAY_HOURS] or past[-1:]
    for kind, threshold in wanted.items():
        before = [each.thresholds.own.get(kind, each.thresholds.fitted) for each in recent]
        if threshold is not None:
            yield (
                kind,
                min(max(threshold, max(before) * (1 - CHANGE_PER_DAY)), min(before) * (1 + CHANGE_PER_DAY)),
            )
        elif kind in past[-1].thresholds.own:
            yield kind, before[-1]
