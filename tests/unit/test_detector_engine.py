"""The scoring engine beside TensorFlow, which trains."""

import keras
import numpy as np
import pytest

from shotwatch_detector.arrays import Images
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_detector.frames import make_reference
from shotwatch_detector.scoring import learn_camera, score_frames
from shotwatch_training.models.architectures import ARCHITECTURES
from shotwatch_training.models.fitting import convert
from shotwatch_training.settings import ArchitectureName, Hyperparameters

SHAPE = (46, 61)
"""Not a multiple of the networks' strides."""


class KerasEngine:
    """The network as it was trained."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def reconstruct(self, images: Images) -> Images:
        reconstruction: Images = self._model(images[..., np.newaxis]).numpy()[..., 0]
        return reconstruction


@pytest.mark.parametrize("architecture", ArchitectureName)
def test_both_engines_give_a_frame_the_same_scores(architecture: ArchitectureName) -> None:
    keras.utils.set_random_seed(1)
    model = ARCHITECTURES[architecture].build(*SHAPE, Hyperparameters())
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    beam = 2000 * np.exp(-(((rows - 22) / 9) ** 2) - ((columns - 30) / 12) ** 2)
    noisy = beam + np.random.default_rng(0).normal(40, 12, (80, *SHAPE))
    frames = noisy.round().clip(0, 4092).astype(np.uint16)
    reference = make_reference(frames[:60])
    scores = [
        score_frames(frames[60:], learn_camera(frames[:60], reference, engine), engine)
        for engine in (KerasEngine(model), LiteRtEngine(convert(model)))
    ]
    assert scores[0].keys() == scores[1].keys()
    for name, trained in scores[0].items():
        np.testing.assert_allclose(scores[1][name], trained, rtol=1e-3, atol=1e-4, err_msg=name)
