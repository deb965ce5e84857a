"""training: from stored shots to a registered, calibrated model.

It fits an autoencoder to the earlier normal shots, computes the references of every device, and sets the
thresholds with later shots. Then it logs the run and registers the bundle. The caller gives the version its
alias last: a run that dies earlier leaves champion and challenger unchanged.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_detector.bundle import KERAS_MODEL, save_bundle
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_shots.pulses import instant
from shotwatch_training.bundling import TrainedDetector, make_bundle, prepare
from shotwatch_training.domain.history import History
from shotwatch_training.domain.split import ImageSet, evenly
from shotwatch_training.models.fitting import Epoch, save
from shotwatch_training.models.search import Trial
from shotwatch_training.plots import plot_curves, plot_reconstructions
from shotwatch_training.progress import Progress
from shotwatch_training.registry import BUNDLE, Registry, Run
from shotwatch_training.settings import Recipe

EXAMPLES = 6
"""Number of reconstructions in the plot."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training run."""

    version: str
    run_id: str
    digest: str
    """`digest_of` the uploaded bundle."""
    cameras: int
    devices: int


def train(history: History, facility: str, recipe: Recipe, registry: Registry, progress: Progress) -> Trained:
    """Train, calibrate, log and register one model.

    Raises:
        TooLittleData: there are not enough normal shots.
    """
    material = prepare(history)
    images = material.images
    progress("fitting", images=len(images.training), validation=len(images.validation))
    with registry.run() as run:
        run.params({**asdict(recipe), "shots": len(history.times), "cameras": len(material.references)})

        def on_epoch(epoch: Epoch) -> None:
            run.epoch(epoch)
            progress("epoch", **asdict(epoch))

        def on_trial(number: int, trial: Trial) -> None:
            figures = _of_trial(trial)
            progress("fitted", network=number, of=recipe.trials, **figures)
            if recipe.trials > 1:
                registry.log_trial(run, asdict(trial.hyperparameters), figures)

        made = make_bundle(material, facility, recipe, on_epoch, on_trial, progress)
        run.params(asdict(made.chosen.hyperparameters))
        run.metrics(_of_trial(made.chosen))
        bundle = made.bundle
        progress("registering", devices=len(bundle.baselines))
        digest = _log(run, made, images)
        registered = registry.register(run, _figures(made))
    return Trained(registered, run.id, digest, len(bundle.cameras), len(bundle.baselines))


def _of_trial(trial: Trial) -> dict[str, float]:
    best = min(epoch.validation_loss for epoch in trial.fitted.epochs)
    return {"spot_contrast": trial.spot_contrast, "best_val_loss": best}


def _figures(made: TrainedDetector) -> dict[str, str]:
    """Return the figures shown for each version in a list of versions."""
    origin = made.bundle.origin
    return {
        "architecture": origin.architecture,
        "trained_from": instant(origin.trained_from).isoformat(),
        "trained_until": instant(origin.until).isoformat(),
        "cameras": str(len(made.bundle.cameras)),
        "devices": str(len(made.bundle.baselines)),
        **{name: f"{figure:.3g}" for name, figure in _of_trial(made.chosen).items()},
    }


def _log(run: Run, made: TrainedDetector, images: ImageSet) -> str:
    """Upload the bundle and plots of its reconstructions; return the bundle's digest."""
    examples = images.validation[evenly(len(images.validation), EXAMPLES)]
    engine = LiteRtEngine(made.bundle.network)
    with TemporaryDirectory() as temporary:
        folder, pictures = Path(temporary, BUNDLE), Path(temporary, "pictures")
        folder.mkdir()
        pictures.mkdir()
        save_bundle(made.bundle, folder)
        digest = digest_of({file: (folder / file).read_bytes() for file in BUNDLE_FILES})
        save(made.chosen.fitted.model, folder / KERAS_MODEL)
        plot_curves(made.chosen.fitted.epochs, pictures / "curves.png")
        plot_reconstructions(examples, engine.reconstruct(examples), pictures / "reconstructions.png")
        run.files(folder, BUNDLE)
        run.files(pictures)
    return digest
