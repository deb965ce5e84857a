"""From normal shots to a trained and calibrated detector; logging and registration are done elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from shotwatch_detector.bundle import Bundle, Origin
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_training.domain.calibration import learn_baselines, learn_cameras
from shotwatch_training.domain.history import History
from shotwatch_training.domain.split import ImageSet, TimeSplit, TooLittleData, image_set, usable_references
from shotwatch_training.models.conversion import convert
from shotwatch_training.models.fitting import Epoch
from shotwatch_training.models.search import Trial, search
from shotwatch_training.progress import Progress
from shotwatch_training.settings import Recipe

MOST_IMAGES = 6000
"""Maximum number of images. No network here improves with more; they would only take memory and time."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The data from which a detector is made."""

    history: History
    split: TimeSplit
    references: Mapping[str, ReferenceFrame]
    """Camera → its reference."""
    images: ImageSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainedDetector:
    """A detector, and how its network was chosen."""

    bundle: Bundle
    chosen: Trial


def prepare(history: History) -> Material:
    """Return the split, the references and the images of a history.

    Raises:
        TooLittleData: there are not enough normal shots.
    """
    if not history.places:
        raise TooLittleData("there is no normal shot to learn from in this time at these places")
    split = TimeSplit()
    references = usable_references(history, split)
    return Material(history, split, references, image_set(history.cameras, references, split, MOST_IMAGES))


def make_bundle(
    material: Material,
    facility: str,
    recipe: Recipe,
    on_epoch: Callable[[Epoch], None],
    on_trial: Callable[[int, Trial], None],
    progress: Progress,
) -> TrainedDetector:
    """Fit the recipe's network, then calibrate its scores and the measured features."""
    chosen = search(recipe, material.images, on_epoch, on_trial)
    progress("calibrating", cameras=len(material.references))
    origin = _origin(facility, recipe, material)
    return TrainedDetector(calibrate(material, convert(chosen.fitted.model), origin), chosen)


def calibrate(material: Material, network: bytes, origin: Origin) -> Bundle:
    """Return a detector with this network (TFLite), whatever it was trained on, for a history's devices."""
    engine = LiteRtEngine(network)
    history, split = material.history, material.split
    cameras = learn_cameras(history, material.references, split, engine)
    return Bundle(origin, network, cameras, learn_baselines(history, cameras, split, engine))


def _origin(facility: str, recipe: Recipe, material: Material) -> Origin:
    times = material.history.times
    return Origin(
        facility=facility,
        architecture=recipe.architecture,
        code_version=version("shotwatch-training"),
        trained_from=int(times[0]),
        calibrated_from=int(times[material.split.calibration_shots(times)][0]),
        until=int(times[-1]),
    )
