"""training: from stored shots to a registered, calibrated model.

Fits an autoencoder to the earlier normal shots, learns what is usual of every device, sets the thresholds by
the later ones, logs the run and registers the bundle. The alias moves last: a run that dies on the way leaves
the champion as it was.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from shotwatch_detector.bundle import KERAS_MODEL, Bundle, Origin, save_bundle
from shotwatch_detector.engine import Engine, LiteRtEngine
from shotwatch_training.domain.calibration import learn_cameras, learn_usual
from shotwatch_training.domain.dataset import (
    ImageSet,
    Split,
    evenly,
    image_set,
    usable_references,
)
from shotwatch_training.domain.history import History, Times
from shotwatch_training.models.fitting import Epoch, Fit, convert, fit, save
from shotwatch_training.plots import plot_curves, plot_reconstructions
from shotwatch_training.registry import BUNDLE, Registry, Run
from shotwatch_training.settings import Recipe

MOST_IMAGES = 6000
"""More images than this no network here learns anything new from; they would take memory and time."""
EXAMPLES = 6
"""Reconstructions in the picture."""

Progress = Callable[..., None]
"""Called as progress(step, figure=…, …)."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training run."""

    version: str
    run_id: str
    cameras: int
    devices: int


def train(
    history: History, facility: str, recipe: Recipe, registry: Registry, alias: str, progress: Progress
) -> Trained:
    """Train, calibrate, log and register one model, and give it the alias.

    Raises:
        TooLittleData: there are not enough normal shots.
    """
    times = history.times
    split = Split()
    references = usable_references(history, split)
    images = image_set(history.cameras, references, split, MOST_IMAGES)
    progress("fitting", images=len(images.training), validation=len(images.validation))
    with registry.run() as run:
        run.params({**asdict(recipe), "shots": len(times), "cameras": len(references)})

        def on_epoch(epoch: Epoch) -> None:
            run.epoch(epoch)
            progress("epoch", **asdict(epoch))

        fitted = fit(recipe.architecture, images, recipe.epochs, recipe.budget_seconds, recipe.seed, on_epoch)
        network = convert(fitted.model)
        engine = LiteRtEngine(network)
        progress("calibrating", cameras=len(references))
        cameras = learn_cameras(history, references, split, engine)
        usual = learn_usual(history, cameras, split, engine)
        origin = _origin(facility, recipe, times, split)
        progress("registering", devices=len(usual))
        _log(run, Bundle(origin, network, cameras, usual), fitted, images, engine)
        registered = registry.register(run, alias)
    return Trained(registered, run.id, len(cameras), len(usual))


def _origin(facility: str, recipe: Recipe, times: Times, split: Split) -> Origin:
    return Origin(
        facility=facility,
        architecture=recipe.architecture,
        code_version=version("shotwatch-training"),
        trained_from=int(times[0]),
        calibrated_from=int(times[split.calibration_shots(times)][0]),
        until=int(times[-1]),
    )


def _log(run: Run, bundle: Bundle, fitted: Fit, images: ImageSet, engine: Engine) -> None:
    examples = images.validation[evenly(len(images.validation), EXAMPLES)]
    with TemporaryDirectory() as temporary:
        folder, pictures = Path(temporary, BUNDLE), Path(temporary, "pictures")
        folder.mkdir()
        pictures.mkdir()
        save_bundle(bundle, folder)
        save(fitted.model, folder / KERAS_MODEL)
        plot_curves(fitted.epochs, pictures / "curves.png")
        plot_reconstructions(examples, engine.reconstruct(examples), pictures / "reconstructions.png")
        run.files(folder, BUNDLE)
        run.files(pictures)
