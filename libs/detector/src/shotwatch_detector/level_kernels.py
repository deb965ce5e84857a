"""The compiled functions that test, shot by shot, whether levels have shifted.

Each shot is added in the same order of operations, so the result does not depend on how shots are divided
into batches.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_detector.arrays import Values
from shotwatch_detector.level_states import (
    BLOCK,
    DOWN,
    LEARNING_SHOTS,
    LEVELS,
    LONGEST_SPAN,
    MEANS,
    STEPS,
    UP,
    Crossings,
    States,
)
from shotwatch_shots.pulses import Times

REACH = 3.0
"""A value counts as at most this many standard deviations from where values are, or this many scales beyond
the allowance: an outlier is no level.
"""
GAIN = 1 / 16
"""Share of a deviation by which the place where values are follows each of them."""
SLOW = 1.5
OUTLYING = 2
"""Number of means that are left out because they may show an anomaly. The allowance is SLOW times the
distance of the furthest of the others from the reference: normal shots may move further than was seen.
"""
UNSEEN = 0.5
"""While the means are still short, normal shots may move slowly by this many standard deviations of a shot.
Most lasers move so much within an hour.
"""
FEWEST_DIFFERENCES = 4
ROBUST_DIFFERENCES, LARGEST_SQUARE = 8, 16.0
"""Once so many differences were seen, a square counts as at most this many times the mean of them."""
MOST_DIFFERENCES = 512
"""Then the older ones count half: the scale follows a laser that gets noisier."""
SOON = 8
"""A shift is soon after the previous one within this many times the shots that were learned from."""
HALF_WAY = 0.5
"""A statistic shows a shift as well if its sum exceeds this share of its limit."""

_STEPS = np.array(STEPS)

StateRow = Any
"""One element of `States` or `Crossings`, whose fields compiled functions use as attributes."""


@njit(cache=True, nogil=True)
def follow_all(
    values: NDArray[np.float64],
    alone: NDArray[np.bool_],
    times: Times,
    states: States,
    kinds: NDArray[np.intp],
    least: Values,
    tested: NDArray[np.bool_],
    limits: Values,
    found: Crossings,
) -> int:
    """Add shots to the states; return how many crossings there are.

    Args:
        values: (n, k), NaN where there is none.
        alone: values that raised an alarm by themselves: they are learned from, and are no evidence: (n, k).
        times: epoch ms, ascending: (n,).
        states: (k,); they are changed.
        kinds: a number for each statistic's kind of anomaly: (k,). When one statistic crosses its limit, all
            of its kind begin to learn anew.
        least: smallest size of a shift: (k,).
        tested: which sides of each statistic are tested: (k, 2).
        limits: of the sums for each step size: (steps,).
        found: receives the crossings: (at least k (n // LEARNING_SHOTS + 2),).
    """
    crossings = 0
    crossed = np.zeros(len(states), np.bool_)
    for shot in range(len(values)):
        any_crossed = False
        for k in range(len(states)):
            crossed[k] = False
            value = values[shot, k]
            if not np.isfinite(value):
                continue
            if states[k].learned and not alone[shot, k]:
                crossed[k] = add_to_sums(states[k], value, times[shot], tested[k], limits)
                any_crossed |= crossed[k]
            learn(states[k], value, least[k])
        if any_crossed:
            crossings = report_and_restart(states, kinds, crossed, limits, shot, found, crossings)
    return crossings


@njit(cache=True, nogil=True)
def add_to_sums(state: StateRow, value: float, time: int, tested: NDArray[np.bool_], limits: Values) -> bool:
    """Add a value to the sums of a statistic; return whether one of them exceeds its limit."""
    furthest = REACH * state.scale + state.allowance
    deviation = min(max(value - state.centre, -furthest), furthest)
    exceeds = False
    for side in (UP, DOWN):
        if not tested[side]:
            continue
        away = deviation if side == UP else -deviation
        excess = (away - state.allowance) / state.scale
        for step in range(len(_STEPS)):
            total = state.cusum[side, step] + excess - _STEPS[step] / 2
            if total <= 0:
                state.cusum[side, step] = 0.0
                state.shots[side, step] = 0
                state.total[side, step] = 0.0
                continue
            if state.shots[side, step] == 0:
                state.since[side, step] = time
            state.cusum[side, step] = total
            state.shots[side, step] += 1
            state.total[side, step] += deviation
            exceeds |= total > limits[step]
    return exceeds


@njit(cache=True, nogil=True)
def report_and_restart(
    states: States,
    kinds: NDArray[np.intp],
    crossed: NDArray[np.bool_],
    limits: Values,
    shot: int,
    found: Crossings,
    crossings: int,
) -> int:
    """Report the statistics that show a shift of the kinds that crossed; all of these kinds learn anew."""
    for k in range(len(states)):
        if not (crossed & (kinds == kinds[k])).any():
            continue
        if states[k].learned:
            crossings += note(states[k], k, crossed[k], limits, shot, found[crossings])
        restart(states[k])
    return crossings


@njit(cache=True, nogil=True)
def note(state: StateRow, k: int, crossed: bool, limits: Values, shot: int, row: StateRow) -> int:
    """Fill a row with the sum that is nearest to its limit, or furthest beyond; return 1, or 0 if none is."""
    nearest, side_of, step_of = HALF_WAY, -1, -1
    for side in (UP, DOWN):
        for step in range(len(_STEPS)):
            share = state.cusum[side, step] / limits[step]
            if share > nearest:
                nearest, side_of, step_of = share, side, step
    if side_of < 0:
        return 0
    row.shot, row.statistic, row.exceeds, row.step = shot, k, crossed, step_of
    row.cusum, row.since = state.cusum[side_of, step_of], state.since[side_of, step_of]
    row.shots = state.shots[side_of, step_of]
    row.deviation, row.centre = state.total[side_of, step_of] / row.shots, state.centre
    return 1


@njit(cache=True, nogil=True)
def restart(state: StateRow) -> None:
    """Begin to learn a reference anew, for longer if the last shift was soon after the one before."""
    soon = state.age < SOON * LEARNING_SHOTS * 2**state.repeats
    state.repeats = state.repeats + 1 if soon and 2**state.repeats < LONGEST_SPAN else state.repeats * soon
    state.age = state.learned = state.count = state.filled = state.mean_count = 0
    state.sum = state.mean_sum = 0.0
    state.span = 2**state.repeats
    state.known[:] = 0
    state.has_half[:] = 0
    state.cusum[:] = 0.0
    state.shots[:] = 0
    state.total[:] = 0.0


@njit(cache=True, nogil=True)
def learn(state: StateRow, value: float, least: float) -> None:
    """Add a value to the blocks from which the reference and its scale are learned."""
    if np.isnan(state.near):
        state.near = value
    furthest = REACH * state.sigma
    step = min(max(value - state.near, -furthest), furthest)
    state.sum += state.near + step
    state.near += GAIN * step
    state.count += 1
    state.age += 1
    if state.count < BLOCK:
        return
    mean = state.sum / BLOCK
    state.sum, state.count = 0.0, 0
    compare(state, mean)
    state.mean_sum += mean
    state.mean_count += 1
    if state.mean_count < state.span:
        return
    state.means[state.filled] = state.mean_sum / state.span
    state.mean_sum, state.mean_count = 0.0, 0
    state.filled += 1
    if state.filled == MEANS:
        settle(state, least)


@njit(cache=True, nogil=True)
def compare(state: StateRow, mean: float) -> None:
    """Add the mean of a block to the second differences, by which slow movement is no noise."""
    for level in range(LEVELS):
        last, before = state.last[level]
        if state.known[level] == 2:
            add_difference(state, level, (mean - 2 * last + before) ** 2 / 6)
        state.known[level] = min(state.known[level] + 1, 2)
        state.last[level, 0], state.last[level, 1] = mean, last
        if not state.has_half[level]:
            state.half[level], state.has_half[level] = mean, 1
            return
        mean, state.has_half[level] = (state.half[level] + mean) / 2, 0


@njit(cache=True, nogil=True)
def add_difference(state: StateRow, level: int, square: float) -> None:
    many = state.differences[level]
    if many >= ROBUST_DIFFERENCES:
        square = min(square, LARGEST_SQUARE * state.squares[level] / many)
    state.squares[level] += square
    state.differences[level] += 1
    if state.differences[level] == MOST_DIFFERENCES:
        state.squares[level] /= 2
        state.differences[level] = MOST_DIFFERENCES // 2


@njit(cache=True, nogil=True)
def settle(state: StateRow, least: float) -> None:
    """Learn the reference from the means, and make room for more: by longer means, or without the oldest."""
    state.centre = np.median(state.means)
    state.scale = long_run_scale(state)
    unseen = UNSEEN * state.sigma if state.span < LONGEST_SPAN else 0.0
    state.allowance = max(least, unseen, SLOW * np.sort(np.abs(state.means - state.centre))[-1 - OUTLYING])
    state.learned = 1
    half = MEANS // 2
    if state.span < LONGEST_SPAN:
        for n in range(half):
            state.means[n] = (state.means[2 * n] + state.means[2 * n + 1]) / 2
        state.span *= 2
    else:
        for n in range(half):
            state.means[n] = state.means[half + n]
    state.filled = half


@njit(cache=True, nogil=True)
def long_run_scale(state: StateRow) -> float:
    """Return the largest long-run standard deviation by means of any length, at least that of a shot."""
    scale: float = state.sigma
    for level in range(LEVELS):
        many = state.differences[level]
        if many >= FEWEST_DIFFERENCES:
            variance = BLOCK * 2**level * state.squares[level] / many
            scale = max(scale, np.sqrt(variance) * (1 + 1 / (2 * many) ** 0.5))
    return scale
