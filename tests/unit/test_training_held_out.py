"""Thresholds of frames that repeat are set as if the frames were new."""

import numpy as np

from shotwatch_detector.arrays import Images
from shotwatch_detector.frames import make_reference
from shotwatch_detector.scoring import CameraReference, learn_camera, score_frames
from shotwatch_training.domain.held_out import held_out_scores
from shotwatch_training.domain.history import CameraHistory
from shotwatch_training.domain.split import TimeSplit

SHAPE, SHOTS = (102, 128), 160
ROWS, COLUMNS = np.indices(SHAPE)
SPLIT = TimeSplit()


class Mean:
    """An engine whose reconstruction of every image is the same."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image

    def reconstruct(self, images: Images) -> Images:
        return np.broadcast_to(self._image, images.shape)


def bump(row: float, column: float, radius: float) -> np.ndarray:
    return np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / (2 * radius**2))


def pictures(count: int) -> np.ndarray:
    """Light of a beam with a bump of its own on each picture: (count, h, w)."""
    angles = 2 * np.pi * np.arange(count) / count
    bumps = [bump(51 + 18 * np.sin(angle), 64 + 18 * np.cos(angle), 4) for angle in angles]
    return 3000 * (bump(51, 64, 20) + 0.06 * np.array(bumps))


def shown(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = 16 + light + rng.normal(0, np.sqrt(light / 100 + 0.25))
    return np.round(noisy).clip(0, 4092).astype(np.uint16)


def learned(frames: np.ndarray) -> tuple[CameraHistory, CameraReference, Mean]:
    camera = CameraHistory("camera", 1000 * np.arange(len(frames)), frames)
    training = frames[SPLIT.training_shots(camera.times)]
    reference = make_reference(training)
    assert reference is not None
    engine = Mean(reference.image)
    return camera, learn_camera(training, reference, engine), engine


def test_a_repeated_frame_scores_as_a_new_one_does() -> None:
    rng = np.random.default_rng(5)
    known, new = np.split(pictures(9)[[0, 1, 2, 3, 5, 6, 7, 8, 4]], [8])
    frames = shown(known[rng.integers(len(known), size=SHOTS)], rng)
    camera, reference, engine = learned(frames)
    repeated = held_out_scores(camera, reference, SPLIT, engine)["excess"]
    unseen = score_frames(shown(np.repeat(new, 20, axis=0), rng), reference, engine)["excess"]
    again = score_frames(frames, reference, engine)["excess"]
    assert np.median(again) < 0.3 * np.median(unseen)
    assert 0.5 < np.median(repeated) / np.median(unseen) < 2


def test_frames_that_differ_by_noise_alone_are_scored_by_the_camera_itself() -> None:
    rng = np.random.default_rng(6)
    frames = shown(np.repeat(pictures(1), SHOTS, axis=0), rng)
    camera, reference, engine = learned(frames)
    later = SPLIT.unlearned_shots(camera.times)
    held_out, by_itself = (
        held_out_scores(camera, reference, SPLIT, engine),
        score_frames(frames, reference, engine),
    )
    for name, values in by_itself.items():
        np.testing.assert_array_equal(held_out[name][later], values[later])
