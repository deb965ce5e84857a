"""Run one training: `python -m shotwatch_training`; its progress is written as JSON lines to standard output.

Exit status: 0 a model was registered, 1 too little data, 2 wrong arguments or settings, 3 a server cannot be
reached.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.command_line import (
    exit_status,
    own_output,
    read_list,
    read_time,
    report,
)
from shotwatch_common.facility_file import load_facility
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_operations.promotion import Promoter
from shotwatch_shots.facility import Facility
from shotwatch_shots.vocabulary import ModelAlias
from shotwatch_training.datasets.store import DatasetError, DatasetStore
from shotwatch_training.domain.history import History
from shotwatch_training.domain.manifest import DatasetManifest
from shotwatch_training.domain.split import TooLittleData
from shotwatch_training.normal_shots import NormalShots
from shotwatch_training.progress import Progress
from shotwatch_training.settings import ArchitectureName, Recipe, TrainingSettings
from shotwatch_training.temporary_files import private_temporary_files

if TYPE_CHECKING:
    from shotwatch_training.service import Trained


def main(arguments: Sequence[str], output: TextIO) -> int:
    """Train as the command line requests, and return the exit status."""
    recipe, progress = parse(arguments), partial(report, to=output)
    expected = (TooLittleData, DatasetError)
    with private_temporary_files():
        return exit_status(lambda: _run(recipe, progress), *expected, away=TRANSIENT, to=output)


def parse(arguments: Sequence[str]) -> Recipe:
    """Return the recipe that the command line requests; exit with a message if it is wrong."""
    default = Recipe()
    parser = argparse.ArgumentParser(prog="shotwatch_training", description="Train and register a model.")
    parser.add_argument("--from", dest="start", type=read_time, help="ISO 8601, UTC unless it has an offset")
    parser.add_argument("--to", dest="end", type=read_time)
    parser.add_argument("--places", default=(), type=read_list, help="such as LA-A1-11,LA-A2-00; default all")
    parser.add_argument(
        "--architecture", default=default.architecture, choices=list(ArchitectureName), type=ArchitectureName
    )
    parser.add_argument("--epochs", default=default.epochs, type=int)
    parser.add_argument("--budget-seconds", default=default.budget_seconds, type=float, help="for fitting")
    parser.add_argument("--trials", default=default.trials, type=_count, help="networks to choose from")
    parser.add_argument("--frames-per-camera", default=default.frames_per_camera, type=int)
    parser.add_argument("--dataset", help="frames of this stored training set, instead of normal shots")
    parser.add_argument("--seed", default=default.seed, type=int)
    parser.add_argument(
        "--register-only", action="store_true", help="the new version does not become the challenger"
    )
    recipe = Recipe(**vars(parser.parse_args(arguments)))
    if recipe.trials > 1 and recipe.architecture is ArchitectureName.REPORT:
        parser.error("--trials: the report's network is as it is; only the strided one has choices")
    return recipe


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {count}")
    return count


def _run(recipe: Recipe, progress: Progress) -> None:
    settings = TrainingSettings.load()
    facility = load_facility(settings.facility)
    progress("reading")
    history = _history(settings, facility, recipe)
    _train(history, facility, recipe, settings, progress)


def _history(settings: TrainingSettings, facility: Facility, recipe: Recipe) -> History:
    if recipe.dataset is None:
        return asyncio.run(_read(settings, facility, recipe))
    manifest = asyncio.run(_manifest(settings, recipe.dataset))
    history = asyncio.run(_read(settings, facility, replace(recipe, frames_per_camera=0)))
    from shotwatch_training.datasets.reading import (  # TensorFlow takes seconds to import
        fetcher,
        read_cameras,
    )

    return replace(history, cameras=read_cameras(manifest, fetcher(settings), recipe.frames_per_camera))


async def _manifest(settings: TrainingSettings, dataset: str) -> DatasetManifest:
    async with ObjectStore.of(settings) as store:
        return await DatasetStore(store, settings.dataset_bucket).find(dataset)


async def _read(settings: TrainingSettings, facility: Facility, recipe: Recipe) -> History:
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        return await NormalShots(archive, store, facility).read(recipe)


def _train(
    history: History, facility: Facility, recipe: Recipe, settings: TrainingSettings, progress: Progress
) -> None:
    shots = sum(len(place.times) for place in history.places)
    progress("loading", shots=shots, cameras=len(history.cameras))
    # TensorFlow and MLflow take seconds to import: import them only when there are data to train on.
    from shotwatch_training.registry import Registry
    from shotwatch_training.service import train

    registry = Registry.of(settings)
    trained = train(history, facility.name, recipe, registry, progress)
    if not recipe.register_only:
        asyncio.run(_challenge(trained, settings))
    progress("registered", **asdict(trained))


async def _challenge(trained: "Trained", settings: TrainingSettings) -> None:
    """Make the new version the challenger; a person decides whether it is promoted to champion."""
    async with ModelRegistry.of(settings) as registry, Archive.of(settings) as archive:
        promoter = Promoter(registry, archive)
        await promoter.introduce(trained.version, trained.digest, ModelAlias.CHALLENGER, "training")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_output()))
