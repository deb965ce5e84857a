"""The fitting before the test: the detector as training makes it, and the baselines, on equal shots."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from shotwatch_benchmark.baselines import (
    BEAM_FEATURES,
    POINTING,
    ComponentsColumn,
    ComponentsMaximum,
    ComponentsMean,
    ComponentsPixel,
    Distance,
    Forest,
    LargestDeviation,
    PrincipalComponents,
    ReportMetric,
)
from shotwatch_benchmark.lasers import Laser
from shotwatch_benchmark.observing import (
    CAMERA,
    METER,
    PLACE,
    SPECTROMETER,
    Observed,
    chunks,
    observe,
    together,
)
from shotwatch_benchmark.scenes import Scene
from shotwatch_benchmark.scorers import Scorer
from shotwatch_detector.bundle import Bundle, Origin
from shotwatch_shots.pulses import Times
from shotwatch_training.bundling import Material, calibrate, make_bundle, prepare
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.domain.split import TimeSplit
from shotwatch_training.models.conversion import convert
from shotwatch_training.models.fitting import Epoch, fit
from shotwatch_training.models.search import Trial
from shotwatch_training.progress import Progress
from shotwatch_training.settings import ArchitectureName, Hyperparameters, Recipe

NO_TIME_LIMIT = 3600.0
"""In seconds. Fitting ends after the given number of epochs instead, so that a run can be repeated."""
FEWEST_FRAMES = 7
"""With at least this many frames, each block of training's split has frames of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Normal shots of one laser, and the training material made of them."""

    observed: Observed
    material: Material


def learn(laser: Laser, pulses: Times, seed: int) -> Learned:
    """Return normal shots at these pulses.

    Each time block of training's split has recorded frames of its own.
    """
    split = TimeSplit()
    blocks = (split.training_shots, split.validation_shots, split.calibration_shots)
    parts = [
        observe(Scene(laser, _frames(laser.learning, block(laser.learning)), seed), some)
        for block in blocks
        for some in chunks(pulses[block(pulses)])
    ]
    observed = together(parts)
    place = PlaceHistory(PLACE, pulses, {device: dict(of) for device, of in observed.features.items()})
    camera = CameraHistory(CAMERA, pulses, observed.shots.frames)
    return Learned(observed, prepare(History((place,), (camera,))))


def _frames(frames: NDArray[np.intp], block: slice) -> NDArray[np.intp]:
    """Return the frames of a block, or all frames if there are too few to divide."""
    return frames[block] if len(frames) >= FEWEST_FRAMES else frames


def train(learned: Learned, epochs: int, seed: int, progress: Progress) -> Bundle:
    """Return the detector that `shotwatch train` would make of these shots."""
    recipe = Recipe(epochs=epochs, budget_seconds=NO_TIME_LIMIT, seed=seed)
    made = make_bundle(learned.material, "benchmark", recipe, _reporting(progress), _ignored, progress)
    return made.bundle


def adopt(network: bytes, learned: Learned) -> Bundle:
    """Return a detector with the references of these shots and a network (TFLite) that was trained elsewhere.

    Raises:
        ValueError: the network is for frames of another shape.
    """
    times, split = learned.material.history.times, learned.material.split
    calibrated = times[split.calibration_shots(times)]
    code = version("shotwatch-benchmark")
    origin = Origin("benchmark", "adopted", code, int(times[0]), int(calibrated[0]), int(calibrated[-1]))
    return calibrate(learned.material, network, origin)


def transfer(bundle: Bundle, learned: Learned) -> Bundle:
    """Return a detector for another laser: its own references and thresholds, with the same network."""
    return calibrate(learned.material, bundle.network, bundle.origin)


def baselines(learned: Learned, seed: int) -> list[Scorer]:
    """Return all baselines that need no network of their own."""
    observed, frames = learned.observed, learned.observed.shots.frames
    components = PrincipalComponents.fit(frames)
    return [
        LargestDeviation.fit("total intensity", observed, ("total_intensity",)),
        LargestDeviation.fit("brightest pixel", observed, ("peak_intensity",)),
        LargestDeviation.fit("pointing", observed, POINTING),
        LargestDeviation.fit("sharpness", observed, ("sharpness",)),
        LargestDeviation.fit("largest beam feature", observed, BEAM_FEATURES),
        LargestDeviation.fit("agreement of energies", observed, ("energy_disagreement",), METER),
        LargestDeviation.fit("bandwidth", observed, ("spectrum_rms_width",), SPECTROMETER),
        LargestDeviation.fit("centre wavelength", observed, ("spectrum_centroid",), SPECTROMETER),
        LargestDeviation.fit("spectral hole", observed, ("spectrum_hole_depth",), SPECTROMETER),
        ComponentsMean(components),
        ComponentsMaximum.fit(components, frames),
        ComponentsPixel.fit(components, frames),
        ComponentsColumn.fit(components, frames),
        Forest.fit(observed, seed),
        Distance.fit(frames),
    ]


def report_network(learned: Learned, epochs: int, seed: int, progress: Progress) -> bytes:
    """Return the report's autoencoder, fitted to the same images as the detector's network."""
    fitted = fit(
        ArchitectureName.REPORT,
        learned.material.images,
        epochs,
        NO_TIME_LIMIT,
        seed,
        _reporting(progress),
        Hyperparameters(),
    )
    return convert(fitted.model)


def report_metric(network: bytes, learned: Learned) -> ReportMetric:
    """Return the report's metric, on frames normalised by the laser's own reference."""
    return ReportMetric(network, learned.material.references[CAMERA])


def _ignored(_number: int, _trial: Trial) -> None: ...


def _reporting(progress: Progress) -> Callable[[Epoch], None]:
    def report(epoch: Epoch) -> None:
        progress("epoch", number=epoch.number, validation_loss=epoch.validation_loss)

    return report
