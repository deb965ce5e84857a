"""Scores of frames as if they were new: by a camera that learned from none of the frames that are the same.

A later frame is only new if it shows something new. A recorded laser that is shown repeatedly has no new
frames, and scores of learned frames are smaller than those of new ones. Its thresholds would be too low.
"""

import numpy as np

from shotwatch_detector.arrays import Features
from shotwatch_detector.engine import Engine
from shotwatch_detector.evidence import same_frames
from shotwatch_detector.scoring import CameraReference, learn_camera, score_frames
from shotwatch_training.domain.history import CameraHistory
from shotwatch_training.domain.split import TimeSplit

PARTS = 4
"""Number of parts of the distinct frames. Each is scored by a camera that learned from the other parts."""


def held_out_scores(
    camera: CameraHistory, learned: CameraReference, split: TimeSplit, engine: Engine
) -> Features:
    """Return the scores of a camera's frames, (n,) each; no frame is scored by what learned from the same.

    `learned` scores the frames that are unlike all training frames. With a single distinct frame, there is
    nothing else to learn from, and it scores all frames.
    """
    training = split.training_shots(camera.times)
    _, number = np.unique(same_frames(camera.frames, learned.reference), return_inverse=True)
    known = np.isin(number, number[training])
    scores = {name: values.copy() for name, values in score_frames(camera.frames, learned, engine).items()}
    for part in range(PARTS):
        held = known & (number % PARTS == part)
        others = camera.frames[training][~held[training]]
        if held.any() and len(others):
            without = learn_camera(others, learned.reference, engine)
            for name, values in score_frames(camera.frames[held], without, engine).items():
                scores[name][held] = values
    return scores
