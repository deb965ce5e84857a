"""Images scored per second on one core, compared with the report's network, called in the report's way.

    OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 python -m tools.bench.score

Frames are simulated: a beam on 102 x 128 pixels with noise and jitter. The report's network takes three
channels at full resolution and is called with `predict`, one image at a time, as an image arrives; its metric
is the mean of |input - reconstruction|. The detector gets the images as inference does, one batch at a time,
and performs all of its steps on a frame: normalise, reconstruct, both residuals, patterns, location. Networks
have random weights, which cost the same as trained ones. Not included: reading the block, and judging the
scores.
"""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import keras
import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.engine import LiteRtEngine
from shotwatch_detector.frames import make_reference, normalise
from shotwatch_detector.scoring import learn_camera, score_frames
from shotwatch_training.models.architectures import ARCHITECTURES
from shotwatch_training.models.conversion import convert
from shotwatch_training.settings import ArchitectureName, Hyperparameters
from shotwatch_training.temporary_files import private_temporary_files

SHAPE = (102, 128)
LEARNING, SCORED = 200, 600
ONE_BY_ONE = 100
REPEATS = 5
MARK = 10.0


@private_temporary_files()
def main() -> None:
    print_setup()
    frames = made_frames(LEARNING + SCORED)
    reference = make_reference(frames[:LEARNING])
    assert reference is not None
    strided, report = (model(name) for name in (ArchitectureName.STRIDED, ArchitectureName.REPORT))
    engine = LiteRtEngine(convert(strided))
    camera = learn_camera(frames[:LEARNING], reference, engine)
    scored = frames[LEARNING:]
    images = normalise(scored, reference).images

    def predict_each() -> None:
        for image in images[:ONE_BY_ONE, np.newaxis, :, :, np.newaxis]:
            np.abs(image - report.predict(image, verbose=0)).mean()

    of_report = measured("the report's network, predict per image", predict_each, ONE_BY_ONE)
    measured("the report's network, predict of 600", lambda: predict_all(report, images), SCORED)
    measured("our network alone, in LiteRT", lambda: engine.reconstruct(images[:32]), 32)
    of_detector = measured("the detector, all of it", lambda: score_frames(scored, camera, engine), SCORED)
    ratio = of_detector / of_report
    print(
        f"the detector / the report's = {ratio:.1f} "
        f"(mark: {MARK:g}, {'passed' if ratio >= MARK else 'MISSED'})"
    )


def predict_all(network: keras.Model, images: NDArray[np.float32]) -> None:
    network.predict(images[..., np.newaxis], batch_size=32, verbose=0)


def model(name: ArchitectureName) -> keras.Model:
    keras.utils.set_random_seed(1)
    return ARCHITECTURES[name].build(*SHAPE, Hyperparameters())


def made_frames(count: int) -> NDArray[np.uint16]:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = random.normal([[64], [51]], 0.3, (2, count))[..., np.newaxis, np.newaxis]
    light = 2500 * np.exp(-(((columns - x) / 25) ** 4) - ((rows - y) / 20) ** 4)
    counts = (light + random.normal(40, 12, light.shape)).round().clip(0, 4092)
    frames: NDArray[np.uint16] = counts.astype(np.uint16)
    return frames


def measured(what: str, work: Callable[[], object], images: int) -> float:
    """Print the CPU time, and return the images per second of it, by the median."""
    work()
    took = [cpu_s(work) for _ in range(REPEATS)]
    rate = images / median(took)
    print(
        f"{what}: {rate:,.0f} images/s, {1000 / rate:.3f} ms each ({1000 * min(took) / images:.3f} at least)"
    )
    return rate


def cpu_s(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def print_setup() -> None:
    print(
        f"Python {platform.python_version()}, TensorFlow {version('tensorflow-cpu')}, "
        f"LiteRT {version('ai-edge-litert')}"
    )
    print(f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}")
    print(f"CPU time of the process, all threads, median and minimum of {REPEATS} runs")


if __name__ == "__main__":
    main()
