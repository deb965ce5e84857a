"""What is kept between two shots to test whether the level of a statistic has shifted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.pulses import YEAR_10000_MS

STEPS = (0.25, 0.5, 1.0, 2.0)
"""The sizes of steps that are tested for, beyond the allowance, in long-run standard deviations of a shot."""
UP, DOWN = 0, 1
SIDES = 2
BLOCK = 60
"""Shots whose mean is compared with those before and after it, to measure the scale."""
LEVELS = 3
"""The scale is measured on means of BLOCK, 2 BLOCK and 4 BLOCK shots."""
MEANS = 32
"""Number of means of equally many shots from which a reference is learned."""
LEARNING_SHOTS = MEANS * BLOCK
"""Shots from which a reference is learned after a shift."""
FIRST_SPAN = 4
"""The first one is learned from means of as many blocks: slow movement must be seen once before any test."""
LONGEST_SPAN = 16
"""A mean is that of at most so many blocks, so a reference is learned from 30,720 shots: 51 min at 10 Hz."""

STATE = np.dtype(
    [
        ("sigma", "f8"),  # Of single shots, > 0.
        ("near", "f8"),  # Where values are now: follows them slowly; NaN before the first.
        ("centre", "f8"),  # The reference.
        ("scale", "f8"),  # Long-run standard deviation of a shot: that of the mean of n shots times √n.
        ("allowance", "f8"),  # How far normal shots move slowly about the reference.
        ("learned", "i8"),  # 1 if there is a reference.
        ("age", "i8"),  # Shots since the last shift.
        ("repeats", "i8"),  # How many times in a row a shift came soon after the previous one.
        ("sum", "f8"),  # Of the current block.
        ("count", "i8"),
        ("means", "f8", (MEANS,)),  # Oldest first.
        ("filled", "i8"),
        ("span", "i8"),  # Blocks in a mean.
        ("mean_sum", "f8"),  # Of the blocks of the current mean.
        ("mean_count", "i8"),
        ("last", "f8", (LEVELS, 2)),  # The last two means of 2^level blocks, the newest first.
        ("known", "i8", (LEVELS,)),  # How many of them there are.
        ("half", "f8", (LEVELS,)),  # The first one of a pair of such means.
        ("has_half", "i8", (LEVELS,)),
        ("squares", "f8", (LEVELS,)),  # Sum of squared second differences, as variances of a mean.
        ("differences", "i8", (LEVELS,)),
        ("cusum", "f8", (SIDES, len(STEPS))),
        ("since", "i8", (SIDES, len(STEPS))),  # First shot since it was 0, epoch ms.
        ("shots", "i8", (SIDES, len(STEPS))),  # As many since then.
        ("total", "f8", (SIDES, len(STEPS))),  # Sum of their deviations from the centre.
    ]
)
States = NDArray[np.void]
"""One STATE per statistic: (k,)."""

CROSSING = np.dtype(
    [
        ("shot", "i8"),
        ("statistic", "i8"),
        ("exceeds", "i8"),  # 1 if a sum of the statistic exceeds its limit, 0 if it has come far.
        ("step", "i8"),  # Of the sum that has come furthest, as an index of STEPS.
        ("cusum", "f8"),  # That sum.
        ("since", "i8"),  # Its first shot, epoch ms.
        ("shots", "i8"),  # As many since then.
        ("deviation", "f8"),  # Their mean deviation.
        ("centre", "f8"),  # From this reference.
    ]
)
Crossings = NDArray[np.void]

_COUNTS = {
    "learned": (0, 1),
    "age": (0, 2**53),
    "repeats": (0, LONGEST_SPAN),
    "count": (0, BLOCK - 1),
    "filled": (0, MEANS - 1),
    "span": (1, LONGEST_SPAN),
    "mean_count": (0, LONGEST_SPAN - 1),
    "known": (0, 2),
    "has_half": (0, 1),
    "differences": (0, 2**53),
    "since": (0, YEAR_10000_MS - 1),
    "shots": (0, 2**53),
}
"""Least and largest values of the counts that the compiled functions rely on."""


class StateError(ValueError):
    """Bytes that are not a state; the message gives the reason."""


def new_state(sigma: float) -> States:
    """Return the state of a statistic of which no shot was seen: (1,).

    `sigma` is the standard deviation of single shots, > 0.
    """
    state = np.zeros(1, STATE)
    state["sigma"], state["near"], state["span"] = sigma, np.nan, FIRST_SPAN
    return state


def states_of(data: Sequence[bytes]) -> States:
    """Return states (k,) from their bytes.

    Raises:
        StateError: some bytes are not a state.
    """
    for each in data:
        if len(each) != STATE.itemsize:
            raise StateError(f"a state has {STATE.itemsize} bytes, not {len(each)}")
    state: States = np.frombuffer(b"".join(data), STATE).copy()
    for name, (least, most) in _COUNTS.items():
        if not ((state[name] >= least) & (state[name] <= most)).all():
            raise StateError(f"{name} is not between {least} and {most}")
    if ((state["cusum"] > 0) != (state["shots"] > 0)).any():
        raise StateError("sums and their shots disagree")
    if not ((state["sigma"] > 0) & (state["sigma"] < np.inf)).all():
        raise StateError("sigma is not positive")
    if not ((state["scale"] > 0) | (state["learned"] == 0)).all():
        raise StateError("scale is not positive")
    return state
