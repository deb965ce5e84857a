"""training as a whole, on servers in memory: all but the fitting itself, which takes seconds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_detector.bundle import Bundle, Origin
from shotwatch_shots.vocabulary import ModelAlias
from shotwatch_training import service
from shotwatch_training.bundling import TrainedDetector
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.models.fitting import Epoch, Fit
from shotwatch_training.models.search import Trial
from shotwatch_training.normal_shots import NormalShots
from shotwatch_training.settings import Hyperparameters
from tests.support.faults import after_each_fault, survived_every_fault
from tests.support.world import World

from .conftest import after
from .plays import inference, manage_sets, train

CAMERA = "LA_FSD-Camera_1-Camera-1"
SHOTS = 120


def beams() -> np.ndarray:
    rows, columns = np.indices((20, 24))
    light = 2500 * np.exp(-(((columns - 12) / 5) ** 2) - ((rows - 10) / 4) ** 2) + 40
    return np.rint(light + np.random.default_rng(1).normal(0, 5, (SHOTS, 20, 24))).astype(np.uint16)


class Engine:
    """A network that reconstructs everything perfectly."""

    def __init__(self, _network: bytes) -> None: ...

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        return images


@pytest.fixture
def enough_shots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive has enough normal shots, and a network is fitted at once."""
    times = np.arange(SHOTS, dtype=np.int64)
    history = History((PlaceHistory("LA-FSD-00", times, {}),), (CameraHistory(CAMERA, times, beams()),))

    async def read(*_: object) -> History:
        return history

    def make_bundle(
        _material: object,
        facility: str,
        _recipe: object,
        on_epoch: Callable[[Epoch], None],
        on_trial: Callable[[int, Trial], None],
        _progress: object,
    ) -> TrainedDetector:
        network: Any = None
        epoch = Epoch(1, 0.2, 0.1)
        trial = Trial(Hyperparameters(), Fit(network, (epoch,)), 3.0)
        on_epoch(epoch)
        on_trial(1, trial)
        return TrainedDetector(Bundle(Origin(facility, "strided", "1", 0, 1, 2), b"network", {}, {}), trial)

    monkeypatch.setattr(NormalShots, "read", read)
    monkeypatch.setattr(service, "make_bundle", make_bundle)
    monkeypatch.setattr(service, "LiteRtEngine", Engine)
    monkeypatch.setattr(service, "save", lambda _model, path: Path(path).write_bytes(b"model"))
    for plot in ("plot_curves", "plot_reconstructions"):
        monkeypatch.setattr(service, plot, lambda *_: None)


@pytest.fixture
def champion() -> World:
    """Version 1 is the champion."""
    world = World()
    world.models.add("1", {})
    world.models.aliases[ModelAlias.CHAMPION] = "1"
    return world


@pytest.mark.usefixtures("enough_shots")
async def test_a_version_is_whole_and_its_run_ended_before_it_is_introduced_as_the_challenger(
    champion: World,
) -> None:
    assert await train(champion) == 0
    assert champion.effects.done == [
        "create run",
        *("log params", "log metrics", "log params", "log metrics"),
        *("upload bundle", "upload pictures"),
        "create version",
        "end run FINISHED",
        *("insert_one audit", "insert_one challengers", "give challenger"),
    ]
    assert champion.models.aliases == {ModelAlias.CHAMPION: "1", ModelAlias.CHALLENGER: "2"}
    check(champion)


@pytest.mark.usefixtures("enough_shots")
async def test_whatever_fails_the_champion_stays_and_training_again_introduces_a_whole_challenger(
    champion: World,
) -> None:
    async def play(world: World) -> None:
        while (status := await train(world)) != 0:
            assert status in (None, 3), "it died, or reports that a server is away"
            check(world)

    async for world in after_each_fault(champion, play):
        check(world)
        newest = max(world.models.versions, key=int)
        assert world.models.aliases[ModelAlias.CHALLENGER] == newest
        assert introduced(world)["version"] == newest
        runs = [run.status for run in world.models.runs.values()]
        assert runs[-1] == "FINISHED"
        assert set(runs[:-1]) <= {"FINISHED", "FAILED", "RUNNING"}


@pytest.mark.usefixtures("enough_shots")
async def test_a_version_that_is_only_registered_gets_no_alias(champion: World) -> None:
    assert await train(champion, "--register-only") == 0
    assert champion.models.aliases == {ModelAlias.CHAMPION: "1"}
    assert champion.documents("challengers") == []


async def test_with_too_few_shots_nothing_is_written(measured: World) -> None:
    world = await after(measured, inference)
    assert await train(world) == 1
    assert world.models.runs == {}


async def test_a_training_set_exists_once_it_is_whole_and_survives_every_fault(measured: World) -> None:
    async def play(world: World) -> None:
        while await manage_sets(world, "make", "beams") in (None, 3):
            pass

    done = await survived_every_fault(await after(measured, inference), play)
    assert [effect.partition("/")[2] for effect in done] == [
        "beams/part-00000-of-00001.tfrecord",
        "beams/manifest.json",
    ]


def introduced(world: World) -> Mapping[str, Any]:
    """The newest promotion of a challenger."""
    return max(world.documents("challengers"), key=lambda each: int(each["at"]))


def check(world: World) -> None:
    """Check that the champion is the same, and the challenger a whole version that was introduced."""
    models = world.models
    assert models.aliases[ModelAlias.CHAMPION] == "1"
    if (challenger := models.aliases.get(ModelAlias.CHALLENGER)) is None:
        return
    version = models.versions[challenger]
    promotions = [each for each in world.documents("challengers") if each["version"] == challenger]
    assert set(BUNDLE_FILES) <= version.bundle.keys()
    assert models.runs[version.run_id].status == "FINISHED"
    digest = digest_of({name: version.bundle[name] for name in BUNDLE_FILES})
    assert {(each["run_id"], each["digest"]) for each in promotions} == {(version.run_id, digest)}
    assert {each["audit_line"] for each in promotions} <= {each["_id"] for each in world.documents("audit")}
