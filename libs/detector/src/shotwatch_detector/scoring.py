"""From frames to scores: normalise, reconstruct, measure the residual."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Frames, Image, Images, Values
from shotwatch_detector.engine import Engine
from shotwatch_detector.frames import ReferenceFrame, normalise
from shotwatch_detector.patterns import Patterns, learn_patterns, measure_rest
from shotwatch_detector.residuals import ResidualMap, map_smoothed, measure_residuals

FRAMES_AT_ONCE = 32
"""This many frames and their residuals stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraReference:
    """The reference data of a camera's frames."""

    reference: ReferenceFrame
    residuals: ResidualMap
    """Residuals of the network."""
    patterns: Patterns


def learn_camera(frames: Frames, reference: ReferenceFrame, engine: Engine) -> CameraReference:
    """Return the reference data of a camera, from normal frames (n, h, w) and the trained network."""
    residuals = [
        images - reconstruction for images, reconstruction, _ in _reconstructed(frames, reference, engine)
    ]
    count = 1 / reference.peak
    patterns = learn_patterns(normalise(frames, reference).images, count)
    return CameraReference(reference, map_smoothed(np.concatenate(residuals), count), patterns)


def score_frames(frames: Frames, camera: CameraReference, engine: Engine) -> Features:
    """Return the scores (`measure_residuals`, `measure_rest`) of frames (n, h, w) of one camera, n ≥ 1."""
    scores = [
        {
            **measure_residuals(images, reconstruction, brightness, camera.residuals),
            **measure_rest(images, brightness, camera.patterns),
        }
        for images, reconstruction, brightness in _reconstructed(frames, camera.reference, engine)
    ]
    return {name: np.concatenate([score[name] for score in scores]) for name in scores[0]}


def residual_of(frame: NDArray[np.uint16], camera: CameraReference, engine: Engine) -> Image:
    """Return image minus reconstruction of one frame (h, w), in shares of the reference's peak."""
    images, reconstruction, _ = next(_reconstructed(frame[np.newaxis], camera.reference, engine))
    residual: Image = images[0] - reconstruction[0]
    return residual


def _reconstructed(
    frames: Frames, reference: ReferenceFrame, engine: Engine
) -> Iterator[tuple[Images, Images, Values]]:
    """Yield normalised images, the network's reconstruction of them, and their brightness."""
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        normalised = normalise(frames[start : start + FRAMES_AT_ONCE], reference)
        yield normalised.images, engine.reconstruct(normalised.images), normalised.brightness
