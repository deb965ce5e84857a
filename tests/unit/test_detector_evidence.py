"""What counts as new evidence: frames that repeat and shots of the same ten seconds count once."""

import numpy as np
import pytest

from shotwatch_detector.claims import supported_surprisal
from shotwatch_detector.evidence import distinct_frames, independent_blocks, same_frames
from shotwatch_detector.frames import ReferenceFrame, make_reference

NATIVE, FACTOR, BINNED = (410, 514), 4, (102, 128)
RNG = np.random.default_rng(11)
ROWS, COLUMNS = np.indices(NATIVE)


def bump(row: float, column: float, radius: float) -> np.ndarray:
    return np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / (2 * radius**2))


def recorded(angle: float, different: float = 0.06) -> np.ndarray:
    """A native frame of a beam with a bump of its own at this angle, `different` of its peak high."""
    return bump(205, 257, 80) + different * bump(205 + 70 * np.sin(angle), 257 + 70 * np.cos(angle), 20)


def shown(frame: np.ndarray) -> np.ndarray:
    """A recorded frame as the simulator shows it: moved, binned, with another energy and fresh noise."""
    down, right = RNG.integers(0, 3, 2)
    height, width = BINNED
    window = frame[down : down + height * FACTOR, right : right + width * FACTOR]
    light = 3000 * RNG.normal(1, 0.005) * window.reshape(height, FACTOR, width, FACTOR).mean(axis=(1, 3))
    return np.round(16 + light + RNG.normal(0, np.sqrt(light / 100 + 0.25))).clip(0).astype(np.uint16)


def reference_of(frames: np.ndarray) -> ReferenceFrame:
    reference = make_reference(frames)
    assert reference is not None
    return reference


@pytest.mark.parametrize("count", [2, 5, 12])
def test_a_frame_that_is_shown_again_counts_once(count: int) -> None:
    pictures = [recorded(2 * np.pi * n / count) for n in range(count)]
    order = RNG.integers(count, size=120)
    frames = np.stack([shown(pictures[n]) for n in order])
    assert distinct_frames(frames, reference_of(frames)) == len(np.unique(order))
    first = same_frames(frames, reference_of(frames))
    assert (order[first] == order).all()


def test_frames_that_differ_by_their_noise_alone_are_all_evidence() -> None:
    frame = recorded(0, different=0)
    frames = np.stack([shown(frame) for _ in range(60)])
    assert distinct_frames(frames, reference_of(frames)) == 60


def test_frames_that_are_equal_are_one() -> None:
    frames = np.stack([shown(recorded(0))] * 9)
    assert distinct_frames(frames, reference_of(frames)) == 1


def test_shots_of_the_same_ten_seconds_count_once() -> None:
    assert independent_blocks(np.arange(0, 60_000, 100)) == 6
    assert independent_blocks(np.array([0, 3_600_000, 3_600_100])) == 2
    assert independent_blocks(np.empty(0, np.int64)) == 0


@pytest.mark.parametrize("shots", [1, 8, 1000])
def test_the_supported_rate_would_have_shown_itself_with_95_percent_confidence(shots: int) -> None:
    rate = 10.0 ** -supported_surprisal(shots)
    assert (1 - rate) ** shots == pytest.approx(0.05)


def test_no_shot_supports_nothing() -> None:
    with pytest.raises(ValueError, match="not 0"):
        supported_surprisal(0)
