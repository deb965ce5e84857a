"""Training sets are split by time, and hold what can be learned from."""

import numpy as np
import pytest

from shotwatch_training.domain.history import CameraHistory, History
from shotwatch_training.domain.split import TimeSplit, TooLittleData, evenly, image_set, usable_references

SHAPE = (20, 24)
rows, columns = np.indices(SHAPE)
BEAM = 2000 * np.exp(-((rows - 10) ** 2 + (columns - 12) ** 2) / 20)


def camera(device: str, shots: int, peak: float = 1.0) -> CameraHistory:
    """Its frames have their number in the first pixel."""
    frames = np.tile(np.rint(peak * BEAM + 100), (shots, 1, 1)).astype(np.uint16)
    frames[:, 0, 0] = np.arange(shots)
    return CameraHistory(device, 1000 * np.arange(shots, dtype=np.int64), frames)


def history(*cameras: CameraHistory) -> History:
    return History((), cameras)


def test_the_blocks_follow_each_other_in_time_and_leave_no_shot_out() -> None:
    times = np.arange(100, dtype=np.int64)
    split = TimeSplit()
    parts = [
        times[part(times)] for part in (split.training_shots, split.validation_shots, split.calibration_shots)
    ]
    assert np.concatenate(parts).tolist() == times.tolist()
    assert all(len(part) > 10 for part in parts)
    assert times[split.reference_shots(times)].tolist() == np.concatenate(parts[:2]).tolist()


def test_images_to_stop_by_are_later_than_images_to_learn_from() -> None:
    cameras = [camera("a", 200), camera("b", 100)]
    references = usable_references(history(*cameras), TimeSplit())
    images = image_set(cameras, references, TimeSplit(), most=100)
    training, validation = images.training[:, 0, 0], images.validation[:, 0, 0]
    assert len(training) + len(validation) == 2 * 35
    half = len(training) // 2, len(validation) // 2
    assert training[: half[0]].max() < validation[: half[1]].min()
    assert training[half[0] :].max() < validation[half[1] :].min()


def test_a_camera_without_beam_or_with_few_frames_is_left_out() -> None:
    known = usable_references(
        history(camera("a", 200), camera("dark", 200, peak=0), camera("new", 30)), TimeSplit()
    )
    assert list(known) == ["a"]


def test_without_any_usable_camera_there_is_too_little_data() -> None:
    with pytest.raises(TooLittleData, match="none of 1 cameras"):
        usable_references(history(camera("new", 30)), TimeSplit())


@pytest.mark.parametrize(("count", "most"), [(10, 3), (3, 10), (1, 1), (1000, 7)])
def test_a_sample_is_even_and_holds_both_ends(count: int, most: int) -> None:
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most) == len(set(chosen.tolist()))
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == count - 1
    assert np.ptp(np.diff(chosen)) <= 1 if len(chosen) > 1 else True
