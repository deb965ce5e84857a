"""What training takes from the archive: normal shots, their features, and the right rows of their blocks."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from shotwatch_common.archive import Archive
from shotwatch_common.block import Block
from shotwatch_common.blocks import write_block
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectGone, ObjectStore
from shotwatch_shots.batch import ABSENT, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef
from shotwatch_shots.shot import JudgedShot, ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.__main__ import parse
from shotwatch_training.domain.history import History
from shotwatch_training.normal_shots import NormalShots
from shotwatch_training.settings import ArchitectureName, Recipe

from .shots import judged_shot

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
SERIES = ShotSeries.parse("LA-A1-11-100ms")
CAMERA = "LA_A1_11-Camera_1-Camera-1"
START, PERIOD, PER_BLOCK = 1_656_660_780_000, 100, 4


def block_ref(n: int) -> BlockRef:
    return BlockRef(bucket="blocks", key=str(n), object_id=str(n), object_key=f"{n}.h5")


@dataclass
class RecordedShots:
    """An archive and a store with shots of one camera: frame k, in row k % 4 of block k // 4, is all k."""

    shots: list[JudgedShot]
    unmeasured: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    labelled: dict[str, ShotLabels] = field(default_factory=dict)
    block_cache: None = None

    def detect(self, n: int, *kinds: AnomalyKind) -> None:
        """Let shot n have these kinds of anomaly."""
        self.shots[n] = replace(self.shots[n], verdict=ShotVerdict(1.0, 5.0, kinds))

    async def spread(self, wanted: ShotFilter, most: int, start: int, end: int) -> list[JudgedShot]:
        found = [shot for shot in self.shots if start <= shot.pulse < end and wanted.accepts(shot)]
        return found[:most]

    async def of_batch(self, batch_id: str) -> dict[str, dict[str, NDArray[np.float64]]]:
        first = PER_BLOCK * int(batch_id)
        total = [np.nan if n in self.unmeasured else n for n in range(first, first + PER_BLOCK)]
        return {CAMERA: {"total_intensity": np.array(total, np.float64)}}

    async def find(self, batch_id: str) -> ShotBatch:
        first = PER_BLOCK * int(batch_id)
        numbers = range(first, first + PER_BLOCK)
        member = Member(
            device=CAMERA,
            kind=DeviceKind.CAMERA,
            blocks=[block_ref(int(batch_id))],
            source=[ABSENT if n in self.absent else 0 for n in numbers],
            row=list(range(PER_BLOCK)),
            reasons=["state_not_on: STANDBY"],
            verdict=[int(n in self.refused) for n in numbers],
            on=[True] * PER_BLOCK,
        )
        return ShotBatch(
            batch_id=batch_id,
            window_id="w",
            series=SERIES,
            pulses=[START + PERIOD * n for n in numbers],
            revisions=[1] * PER_BLOCK,
            complete=[True] * PER_BLOCK,
            members=[member],
            last_arrival=0,
        )

    async def labels(self, _shots: Sequence[JudgedShot]) -> dict[str, ShotLabels]:
        return self.labelled

    async def get(self, bucket: str, key: str, _most: int = sys.maxsize) -> bytes:
        if key in self.expired:
            raise ObjectGone(f"{bucket}/{key}")
        numbers = PER_BLOCK * int(key) + np.arange(PER_BLOCK)
        frames = np.broadcast_to(numbers[:, None, None], (PER_BLOCK, 102, 128)).astype(np.uint16)
        states, readable = ["ON"] * PER_BLOCK, np.ones(PER_BLOCK, bool)
        return write_block(
            Block(CAMERA, START + PERIOD * numbers, states, readable, {"image": frames})
        ).to_pybytes()

    def read(self, recipe: Recipe | None = None) -> History:
        archive, store = (
            cast(Archive, SimpleNamespace(shots=self, batches=self, measurements=self, feedback=self)),
            cast(ObjectStore, self),
        )
        return asyncio.run(NormalShots(archive, store, FACILITY).read(recipe or Recipe()))


@pytest.fixture
def recorded() -> RecordedShots:
    return RecordedShots(
        [
            judged_shot(
                f"shot-{n}", SERIES, START + PERIOD * n, batch=str(n // PER_BLOCK), index=n % PER_BLOCK
            )
            for n in range(40)
        ]
    )


def numbers(history: History) -> list[int]:
    """The numbers of the shots, by their times."""
    (place,) = history.places
    return ((place.times - START) // PERIOD).tolist()


def test_shots_come_in_the_order_of_time_with_their_features(recorded: RecordedShots) -> None:
    history = recorded.read()
    assert numbers(history) == list(range(40))
    assert history.places[0].place == "LA-A1-11"
    assert history.places[0].features[CAMERA]["total_intensity"].tolist() == list(range(40))


def test_each_frame_is_the_one_of_its_shot(recorded: RecordedShots) -> None:
    (camera,) = recorded.read().cameras
    assert camera.frames.shape == (40, 102, 128)
    assert (camera.frames[:, 0, 0] == (camera.times - START) // PERIOD).all()


@pytest.mark.parametrize(
    "change",
    [
        {"complete": False},
        {"series": SERIES.model_copy(update={"interval": "1s"})},
        {"verdict": ShotVerdict(1.0, 5.0, (AnomalyKind.FROZEN_FRAME,))},
    ],
)
def test_a_shot_that_is_not_normal_is_left_out(change: dict[str, Any], recorded: RecordedShots) -> None:
    recorded.shots[7] = replace(recorded.shots[7], **change)
    assert numbers(recorded.read()) == [n for n in range(40) if n != 7]


def test_what_an_earlier_model_found_anomalous_is_kept(recorded: RecordedShots) -> None:
    recorded.detect(7, AnomalyKind.PROFILE)
    assert 7 in numbers(recorded.read())


def test_a_shot_that_people_confirmed_to_be_anomalous_is_left_out_whoever_found_it(
    recorded: RecordedShots,
) -> None:
    recorded.labelled = {"shot-7": ShotLabels(confirmed=frozenset({AnomalyKind.HOT_SPOT}))}
    assert numbers(recorded.read()) == [n for n in range(40) if n != 7]


def test_a_shot_about_which_a_rule_was_wrong_is_kept(recorded: RecordedShots) -> None:
    for n in (7, 8):
        recorded.detect(n, *[AnomalyKind.ENERGY_DISAGREEMENT, AnomalyKind.FROZEN_FRAME][: n - 6])
        recorded.labelled[f"shot-{n}"] = ShotLabels(false=frozenset({AnomalyKind.ENERGY_DISAGREEMENT}))
    assert numbers(recorded.read()) == [n for n in range(40) if n != 8]


def test_a_feature_that_a_shot_lacks_is_not_a_number(recorded: RecordedShots) -> None:
    recorded.unmeasured = {7}
    assert np.isnan(recorded.read().places[0].features[CAMERA]["total_intensity"]).nonzero()[0].tolist() == [
        7
    ]


def test_frames_that_are_absent_refused_or_expired_are_left_out(recorded: RecordedShots) -> None:
    recorded.absent, recorded.refused, recorded.expired = {1}, {2}, {"9"}
    (camera,) = recorded.read().cameras
    assert camera.frames[:, 0, 0].tolist() == [n for n in range(36) if n not in (1, 2)]


def test_frames_are_sampled_evenly_and_features_are_not(recorded: RecordedShots) -> None:
    history = recorded.read(Recipe(frames_per_camera=10))
    assert len(numbers(history)) == 40
    assert len(history.cameras[0].times) == 10
    assert np.ptp(history.cameras[0].times) == 39 * PERIOD


def test_only_the_period_and_the_places_asked_for_are_read(recorded: RecordedShots) -> None:
    def at(n: int) -> datetime:
        return datetime.fromtimestamp((START + PERIOD * n) / 1000, UTC)

    assert numbers(recorded.read(Recipe(start=at(10), end=at(20)))) == list(range(10, 20))
    assert recorded.read(Recipe(places=("LB-A1-11",))).places == ()


def test_an_empty_archive_is_an_empty_history() -> None:
    history = RecordedShots([]).read()
    assert (history.places, history.cameras, len(history.times)) == ((), (), 0)


def test_the_command_line_states_what_to_train_on() -> None:
    asked = "--from 2022-07-01T07:33 --to 2022-07-01T09:00:00+02:00 --places LA-A1-11,LA-A2-00"
    recipe = parse(f"{asked} --architecture report --epochs 3 --budget-seconds 7.5".split())
    assert recipe == Recipe(
        start=datetime(2022, 7, 1, 7, 33, tzinfo=UTC),
        end=datetime(2022, 7, 1, 7, 0, tzinfo=UTC),
        places=("LA-A1-11", "LA-A2-00"),
        architecture=ArchitectureName.REPORT,
        epochs=3,
        budget_seconds=7.5,
    )


def test_without_arguments_everything_is_the_default() -> None:
    assert parse([]) == Recipe()


@pytest.mark.parametrize("wrong", [["--architecture", "huge"], ["--from", "yesterday"], ["--epochs", "many"]])
def test_wrong_arguments_end_the_program(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(wrong)
    assert ended.value.code == 2
