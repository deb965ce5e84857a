"""inference as a whole, on servers in memory."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from shotwatch_detector.fine_structure import FineMaps
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_detector.patterns import Patterns
from shotwatch_detector.residuals import ResidualMap
from shotwatch_detector.scoring import CameraReference
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_inference import scoring
from shotwatch_shots.features.spec import Side
from shotwatch_shots.identity import residual_key
from shotwatch_shots.vocabulary import ModelAlias
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .conftest import FLAWED, SHOTS, promote
from .plays import inference

METER, CAMERA = "LA_FSD-EM_1-EnergyMeter-1", "LA_FSD-Camera_2-Camera-2"


class Mirror:
    """An engine that reconstructs everything perfectly."""

    def __init__(self, _network: bytes) -> None: ...

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        return images


def events(world: World) -> list[dict[str, Any]]:
    """The different events in the stream, by their numbers."""
    different = [json.loads(body) for body in world.outcome().events]
    return sorted(different, key=lambda event: int(event["data"]["sequence"]))


async def test_the_flawed_shot_raises_one_event_and_is_measured_in_detail(measured: World) -> None:
    world = measured.fork()
    await inference(world)
    [event] = events(world)
    assert (event["subject"], event["data"]["kind"], event["data"]["sequence"]) == (FLAWED, "black_frame", 1)
    kinds = {document["_id"]: document["kinds"] for document in world.documents("shots")}
    assert kinds == {shot: ["black_frame"] * (shot == FLAWED) for shot in SHOTS}
    [flagged] = world.outcome().messages["detail"]
    assert json.loads(flagged)["shots"] == [SHOTS.index(FLAWED)]
    [batch] = world.documents("batches")
    assert batch["judged_at"]


async def test_by_rules_alone_it_stores_before_it_publishes_and_survives_every_fault(measured: World) -> None:
    done = await survived_every_fault(measured, inference)
    promised = [
        "insert_many shots",
        "insert_one incidents",
        "insert_many events",
        "publish event",
        "update_many events",
        "update_one incidents.outbox",
        "publish detail",
        "update_one batches.judged_at",
        "acknowledge inference",
    ]
    assert_in_order(done, promised)


def reference_of_noise() -> CameraReference:
    """A camera's reference data that fit no frame."""
    image, *patterns = np.random.default_rng(3).random((3, 102, 128), np.float32) + np.float32(0.1)
    basis, left = np.array(patterns), ResidualMap(image, image)
    fine = FineMaps(left, *(ResidualMap(line, line) for line in (image[:1], image[:, :1].T)))
    return CameraReference(
        ReferenceFrame(image, 3000.0), left, Patterns(image, basis, basis[:, 0, 0], left, fine)
    )


@pytest.fixture
async def promoted(measured: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A champion and a challenger, for which the energy and the frame of every shot are unusual."""
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    world = measured.fork()
    unusual = Baseline(1e6, 1.0, Tail(2.6, 0.876), Tail(1.0, 0.876), Side.BOTH)
    baselines = {METER: {"energy": unusual}, CAMERA: {"hot_spot": unusual}}
    cameras = {CAMERA: reference_of_noise()}
    for alias, version in ((ModelAlias.CHAMPION, "3"), (ModelAlias.CHALLENGER, "4")):
        digest = world.models.add(version, baselines, cameras)
        await promote(world, alias, version, digest)
    return world


async def test_with_models_the_order_and_the_outcome_are_the_same_and_the_challenger_gets_the_batch(
    promoted: World,
) -> None:
    done = await survived_every_fault(promoted, inference)
    promised = [
        "insert_many shots",
        "insert_one incidents",
        "publish event",
        "update_one incidents.outbox",
        f"put blocks/{residual_key(FLAWED, CAMERA)}",
        "bulk_write measurements",
        "update_one batches.judged_at",
        "publish shadow",
        "acknowledge inference",
        "replace_one shadows",
        "acknowledge shadow",
    ]
    assert_in_order(done, promised)
    world = promoted.fork()
    await inference(world)
    models = [event["data"]["model"] for event in events(world)]
    assert {"name": "shotwatch", "version": "3", "run_id": "run-3"} in models
    [shadow] = world.documents("shadows")
    assert shadow["version"] == "4"


async def test_the_judgement_does_not_depend_on_the_slices_in_which_frames_are_scored(
    promoted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices of one frame: those of the service are the same to the last bit (test_detector_kernels)."""
    whole, sliced = promoted.fork(), promoted.fork()
    await inference(whole)
    monkeypatch.setattr(scoring, "SLICE", 1)
    await inference(sliced)
    expected, found = ({shot["_id"]: shot for shot in world.documents("shots")} for world in (whole, sliced))
    assert {id_: shot["kinds"] for id_, shot in found.items()} == {
        id_: shot["kinds"] for id_, shot in expected.items()
    }
    for id_, shot in found.items():
        assert shot["score"] == pytest.approx(expected[id_]["score"], abs=1e-3 * shot["threshold"])
    assert [event["id"] for event in events(sliced)] == [event["id"] for event in events(whole)]


async def test_numbers_of_events_have_no_gap_and_no_number_is_used_twice(
    promoted: World,
) -> None:
    world = promoted.fork()
    await inference(world)
    numbers = [int(event["data"]["sequence"]) for event in events(world)]
    assert len(numbers) > 1
    assert all(after == before + 1 for before, after in pairwise([0, *numbers]))
    [counter] = world.documents("counters")
    assert counter["reserved"] == {}


def assert_in_order(done: Sequence[str], promised: Sequence[str]) -> None:
    """Check that the promised effects happened, each before the next one."""
    rest = iter(done)
    assert all(effect in rest for effect in promised), done
