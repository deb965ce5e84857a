"""What is usual of a camera is explained by its patterns; what is not stands out."""

import numpy as np
import pytest

from shotwatch_detector.arrays import Images
from shotwatch_detector.patterns import MOST_PATTERNS, Patterns, learn_patterns, measure_rest

HEIGHT, WIDTH, COUNT = 40, 50, 1 / 3000


def images(count: int, seed: int) -> Images:
    """Beams that wander and breathe, with noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((HEIGHT, WIDTH))
    x, y = random.normal(25, 0.3, (count, 1, 1)), random.normal(20, 0.3, (count, 1, 1))
    width = random.normal(60, 2, (count, 1, 1))
    beams = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / width)
    return (beams + random.normal(0, 0.01, beams.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    return learn_patterns(images(400, seed=1), COUNT)


def test_what_frames_have_in_common_and_how_they_differ_is_explained(patterns: Patterns) -> None:
    assert patterns.basis.shape == (MOST_PATTERNS, HEIGHT, WIDTH)
    flat = patterns.basis.reshape(MOST_PATTERNS, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(MOST_PATTERNS), atol=1e-4)
    assert patterns.rest(images(100, seed=2)).std() == pytest.approx(0.01, rel=0.05)


def test_a_faint_spot_stands_out_where_it_is(patterns: Patterns) -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    spot = 0.05 * np.exp(-((columns - 30) ** 2 + (rows - 12) ** 2) / 3)
    baselines = images(200, seed=3)
    anomalous = measure_rest(baselines + spot.astype(np.float32), np.ones(200), patterns)
    normal = measure_rest(baselines, np.ones(200), patterns)
    assert np.median(anomalous["excess"]) > normal["excess"].max()
    assert np.median(np.hypot(anomalous["excess_x"] - 30, anomalous["excess_y"] - 12)) <= 1
    assert np.median(anomalous["excess_size"]) == pytest.approx(0.03, abs=0.012)
    dark = measure_rest(baselines - spot.astype(np.float32), np.ones(200), patterns)
    assert np.median(dark["deficit"]) > normal["deficit"].max()


def test_faint_fringes_add_structure(patterns: Patterns) -> None:
    fringes = 0.015 * np.sin(np.arange(WIDTH) * 0.9).astype(np.float32) * np.ones((HEIGHT, 1), np.float32)
    baselines = images(200, seed=4)
    anomalous, normal = (
        measure_rest(some, np.ones(200), patterns)["structure"] for some in (baselines + fringes, baselines)
    )
    assert anomalous.min() > normal.max()


def test_a_beam_that_went_further_than_ever_is_no_spot(patterns: Patterns) -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    far = np.exp(-((columns - 27.5) ** 2 + (rows - 20) ** 2) / 60)[None].astype(np.float32)
    _, known = patterns.explain(np.concatenate([images(1, seed=7), far]) - patterns.mean)
    assert known[0] > 0.5 > 0.1 > known[1]


def test_few_frames_make_few_patterns() -> None:
    assert len(learn_patterns(images(50, seed=5), COUNT).basis) == 2


def test_a_frame_scores_the_same_alone_and_among_others(patterns: Patterns) -> None:
    some = images(8, seed=6)
    together, alone = (measure_rest(each, np.ones(len(each)), patterns) for each in (some, some[3:4]))
    for name, values in alone.items():
        assert values[0] == pytest.approx(together[name][3], rel=1e-3, abs=1e-3)
