"""Training sets: what is written comes back, the manifest states its origin, nothing half-made counts."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import md5, sha256
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from shotwatch_common.archive import Archive
from shotwatch_common.archive.shots import FoundShots
from shotwatch_common.block import Block
from shotwatch_common.blocks import read_block, write_block
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectGone, ObjectStore, StoredObject
from shotwatch_shots.batch import ABSENT, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Retry
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms, instant
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.shot import JudgedShot, ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.datasets.__main__ import parse
from shotwatch_training.datasets.checking import Checked, check
from shotwatch_training.datasets.choosing import DatasetSources
from shotwatch_training.datasets.making import make_set
from shotwatch_training.datasets.reading import read_cameras, stream
from shotwatch_training.datasets.store import DatasetError, DatasetStore
from shotwatch_training.domain.manifest import DatasetManifest, Shard, ShotQuery

from .shots import judged_shot

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
PLACE = ShotSeries.parse("LA-A2-00-1s")
CAMERAS = ("LA_A2-Camera_1-Camera-1", "LA_A2-Camera_2-Camera-2")
SPECTROMETERS = ("LA_A2-Spectro_1-Spectro-1", "LA_A2-Spectro_2-Spectro-2")
METERS = ("LA_A2-EM_1-EnergyMeter-1",)
KINDS = {
    **dict.fromkeys(CAMERAS, DeviceKind.CAMERA),
    **dict.fromkeys(SPECTROMETERS, DeviceKind.SPECTRO),
    **dict.fromkeys(METERS, DeviceKind.ENERGY_METER),
}
START = epoch_ms(datetime(2022, 7, 1, 23, 59, 52, tzinfo=UTC))
PERIOD, SHOTS, PER_BATCH = 1000, 12, 4
SETS = "datasets"


@dataclass
class Objects:
    """An object store in memory; `full_after` writes it fails."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)
    full_after: int | None = None
    block_cache: None = None

    async def get(self, bucket: str, key: str, _most: int = sys.maxsize) -> bytes:
        if (bucket, key) not in self.kept:
            raise ObjectGone(f"{bucket}/{key}")
        return self.kept[bucket, key]

    async def put(self, bucket: str, key: str, data: Any, *_content_type: str) -> None:
        if self.full_after is not None:
            self.full_after -= 1
            if self.full_after < 0:
                raise Retry("the disk is full")
        self.kept[bucket, key] = bytes(data)

    async def remove(self, bucket: str, key: str) -> None:
        self.kept.pop((bucket, key), None)

    async def etag(self, bucket: str, key: str) -> str | None:
        data = self.kept.get((bucket, key))
        return None if data is None else md5(data).hexdigest()

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[StoredObject]:
        for found, key in sorted(self.kept):
            if found == bucket and key.startswith(prefix):
                yield StoredObject(key, "", 0, 0)

    async def ensure_buckets(self, *buckets: str) -> None:
        pass

    def keys(self, bucket: str) -> set[str]:
        return {key for found, key in self.kept if found == bucket}


@dataclass
class Facts:
    """What an archive knows of the shots of one place: four a batch, a file a device and batch."""

    shots: list[JudgedShot]
    refused: dict[str, set[int]] = field(default_factory=dict)
    absent: dict[str, set[int]] = field(default_factory=dict)
    later_revisions: set[str] = field(default_factory=set)
    expected: dict[str, ShotLabels] = field(default_factory=dict)

    async def labels(self, _shots: Sequence[JudgedShot]) -> dict[str, ShotLabels]:
        return self.expected

    def detect(self, n: int, *kinds: AnomalyKind) -> None:
        """Let shot n have these kinds of anomaly."""
        self.shots[n] = replace(self.shots[n], verdict=ShotVerdict(1.0, 5.0, kinds))

    async def search(self, wanted: ShotFilter, start: int, end: int) -> AsyncIterator[FoundShots]:
        yield FoundShots(start, end, [s for s in self.shots if start <= s.pulse < end and wanted.accepts(s)])

    async def revisions(self, shots: Sequence[str]) -> dict[str, int]:
        return {shot: 2 if shot in self.later_revisions else 1 for shot in shots}

    async def places(self, object_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """The ledger's: every file lies in the data bucket."""
        devices = product(KINDS, range(SHOTS // PER_BATCH))
        known = {block_ref(*each).object_id: ("data", raw_key(*each)) for each in devices}
        return {identity: known[identity] for identity in object_ids}

    async def find(self, batch_id: str) -> ShotBatch:
        numbers = batch_numbers(int(batch_id))
        return ShotBatch(
            batch_id=batch_id,
            window_id="w",
            series=PLACE,
            pulses=[START + PERIOD * n for n in numbers],
            revisions=[1] * PER_BATCH,
            complete=[True] * PER_BATCH,
            members=[self._member(device, int(batch_id)) for device in KINDS],
            last_arrival=0,
        )

    def _member(self, device: str, batch: int) -> Member:
        numbers = batch_numbers(batch)
        refused, absent = self.refused.get(device, set()), self.absent.get(device, set())
        return Member(
            device=device,
            kind=KINDS[device],
            blocks=[block_ref(device, batch)],
            source=[ABSENT if n in absent else 0 for n in numbers],
            row=[PER_BATCH - 1 - row for row in range(PER_BATCH)],
            reasons=["state_not_on: STANDBY"],
            verdict=[1 if n in refused else VALID for n in numbers],
            on=[True] * PER_BATCH,
        )


def batch_numbers(batch: int) -> range:
    return range(PER_BATCH * batch, PER_BATCH * (batch + 1))


def object_key(device: str, batch: int) -> str:
    minute = f"{instant(START + PERIOD * PER_BATCH * batch):%Y-%m-%d_%H-%M-%S}"
    return f"LA_{device.rpartition('-')[0].replace('_', '')}_1s_snapshot_{minute}.h5"


def block_ref(device: str, batch: int) -> BlockRef:
    key = object_key(device, batch)
    return BlockRef(bucket="blocks", key=f"{batch}/{device}.arrow", object_id=f"id of {key}", object_key=key)


def raw_key(device: str, batch: int) -> str:
    """Where ingest put the file, by the ledger alone: no rule leads there from the file's name."""
    return f"somewhere/{object_key(device, batch)}"


def recorded(device: str, n: int) -> dict[str, Any]:
    """What a device recorded of shot n."""
    rng = np.random.default_rng([list(KINDS).index(device), n])
    match KINDS[device]:
        case DeviceKind.CAMERA:
            return {"image": rng.integers(0, 4093, (102, 128), np.uint16)}
        case DeviceKind.SPECTRO:
            return {"spectrum": rng.normal(0, 1e4, 2047).astype(np.float32)}
        case _:
            return {"energy1": rng.normal(2, 0.1), "energy2": rng.normal(2, 0.1)}


def energy(n: int) -> np.float32:
    record = recorded(METERS[0], n)
    return np.float32(record["energy1"] / 2 + record["energy2"] / 2)


def stored_block(device: str, batch: int) -> bytes:
    """The last shot of the batch is in the first row."""
    numbers = batch_numbers(batch)[::-1]
    records = [recorded(device, n) for n in numbers]
    arrays = {name: np.stack([record[name] for record in records]) for name in records[0]}
    times = np.array([START + PERIOD * n for n in numbers], np.int64)
    block = Block(device, times, ["ON"] * PER_BATCH, np.ones(PER_BATCH, bool), arrays)
    return write_block(block).to_pybytes()


@dataclass
class World:
    """A facility's past, and the sets made of it."""

    facts: Facts
    objects: Objects
    reported: list[dict[str, Any]] = field(default_factory=list)

    @property
    def archive(self) -> Archive:
        return cast(
            Archive, SimpleNamespace(**dict.fromkeys(("shots", "batches", "feedback", "ledger"), self.facts))
        )

    @property
    def sets(self) -> DatasetStore:
        return DatasetStore(cast(ObjectStore, self.objects), SETS)

    def make(self, name: str = "july", per_shard: int = 100, **query: Any) -> DatasetManifest:
        sources = DatasetSources(self.archive, cast(ObjectStore, self.objects), FACILITY)
        return asyncio.run(make_set(name, ShotQuery(**query), sources, self.sets, self.report, per_shard))

    def report(self, step: str, **figures: object) -> None:
        self.reported.append({"step": step, **figures})

    def check(self, name: str = "july") -> Checked:
        manifest = asyncio.run(self.sets.find(name))
        return asyncio.run(check(manifest, self.sets, self.archive, self.report))

    def fetch(self, shard: Shard) -> bytes:
        return asyncio.run(self.sets.get_shard(shard))

    def read(self, manifest: DatasetManifest) -> list[dict[str, Any]]:
        return list(stream(manifest, self.fetch).as_numpy_iterator())


@pytest.fixture
def world() -> World:
    shots = [
        judged_shot(f"shot-{n}", PLACE, START + PERIOD * n, batch=str(n // PER_BATCH), index=n % PER_BATCH)
        for n in range(SHOTS)
    ]
    objects = Objects()
    for batch in range(SHOTS // PER_BATCH):
        for device in KINDS:
            objects.kept["blocks", f"{batch}/{device}.arrow"] = stored_block(device, batch)
            objects.kept["data", raw_key(device, batch)] = object_key(device, batch).encode()
    return World(Facts(shots), objects)


def expected_order(cameras: Sequence[str] = CAMERAS) -> list[tuple[str, int]]:
    """Camera and number of each example: batch by batch, camera by camera."""
    batches = range(SHOTS // PER_BATCH)
    return [(camera, n) for batch in batches for camera in cameras for n in batch_numbers(batch)]


def numbers(manifest: DatasetManifest) -> list[int]:
    """The numbers of the shots, each once."""
    return sorted({int(shot.removeprefix("shot-")) for group in manifest.groups for shot in group.shots})


def test_what_was_recorded_comes_back_to_the_last_bit_and_in_order(world: World) -> None:
    examples = world.read(world.make())
    assert len(examples) == SHOTS * len(CAMERAS)
    for example, (camera, n) in zip(examples, expected_order(), strict=True):
        spectrum = recorded(SPECTROMETERS[0], n)["spectrum"]
        assert example["image"].dtype == np.uint16
        np.testing.assert_array_equal(example["image"], recorded(camera, n)["image"])
        assert example["spectra"].tobytes() == spectrum.tobytes()
        assert example["energymeter"] == energy(n)
        assert (example["front"], example["amp"], example["arm"]) == (b"LA", b"A2", b"00")
        assert (example["timestamp"], example["interval"]) == (START + PERIOD * n, b"1s")
        assert example["date"].decode() == ("2022-07-01" if n < 8 else "2022-07-02")


def test_an_example_has_the_nine_features_of_the_report_as_the_manifest_describes_them(world: World) -> None:
    manifest = world.make()
    names = ["image", "energymeter", "spectra", "amp", "arm", "front", "timestamp", "interval", "date"]
    assert [feature.name for feature in manifest.features] == names
    for example in world.read(manifest):
        assert example.keys() == set(names)
        assert all(np.shape(example[each.name]) == each.shape for each in manifest.features)


def test_the_first_spectrometer_with_a_valid_record_counts(world: World) -> None:
    world.facts.refused = {SPECTROMETERS[0]: {1}, CAMERAS[1]: {2}}
    examples = world.read(world.make())
    order = [each for each in expected_order() if each != (CAMERAS[1], 2)]
    for example, (_, n) in zip(examples, order, strict=True):
        spectrometer = SPECTROMETERS[1] if n == 1 else SPECTROMETERS[0]
        np.testing.assert_array_equal(example["spectra"], recorded(spectrometer, n)["spectrum"])


def test_only_a_set_that_asks_for_incomplete_shots_has_them_and_what_they_lack_is_nan(world: World) -> None:
    world.facts.absent = {device: {5} for device in (*SPECTROMETERS, *METERS)}
    world.facts.shots[5] = replace(world.facts.shots[5], complete=False)
    assert numbers(world.make("complete")) == [n for n in range(SHOTS) if n != 5]
    examples = world.read(world.make("all", incomplete=True))
    for example, (camera, n) in zip(examples, expected_order(), strict=True):
        assert np.isnan(example["spectra"]).all() == np.isnan(example["energymeter"]) == (n == 5)
        np.testing.assert_array_equal(example["image"], recorded(camera, n)["image"])


def test_shards_hold_every_example_once_and_are_what_the_manifest_describes(world: World) -> None:
    manifest = world.make(per_shard=5)
    assert [shard.examples for shard in manifest.shards] == [5, 5, 5, 5, 4]
    keys = [f"july/part-{n:05d}-of-00005.tfrecord" for n in range(5)]
    assert [shard.key for shard in manifest.shards] == keys
    assert world.objects.keys(SETS) == {"july/manifest.json", *keys}
    for shard in manifest.shards:
        data = world.objects.kept[SETS, shard.key]
        assert (shard.size, shard.sha256) == (len(data), sha256(data).hexdigest())
    times = [example["timestamp"] for example in world.read(manifest)]
    assert times == [START + PERIOD * n for _, n in expected_order()]


def test_every_example_can_be_found_again_by_the_manifest(world: World) -> None:
    world.make(most=7, exclude=[AnomalyKind.HOT_SPOT])
    manifest = DatasetManifest.model_validate_json(world.objects.kept[SETS, "july/manifest.json"])
    examples = iter(world.read(manifest))
    raw = {each.object_id: each for each in manifest.raw_objects}
    for group in manifest.groups:
        for shot, record in zip(group.shots, group.image.records, strict=True):
            assert record is not None
            ref, row = record
            block = read_block(world.objects.kept[ref.bucket, ref.key])
            example = next(examples)
            assert block.device == group.camera
            assert example["timestamp"] == block.time[row]
            assert shot == f"shot-{(block.time[row] - START) // PERIOD}"
            np.testing.assert_array_equal(example["image"], block.arrays["image"][row])
            assert world.objects.kept["data", raw[ref.object_id].key] == ref.object_key.encode()
    assert next(examples, None) is None
    assert manifest.query == ShotQuery(most=7, exclude=(AnomalyKind.HOT_SPOT,))
    assert manifest.facility == "HPLS"
    assert (manifest.counts.shots, manifest.counts.examples, manifest.counts.cameras) == (7, 14, 2)


def test_the_same_shots_give_the_same_bytes(world: World) -> None:
    first, second = world.make("first"), world.make("second")
    assert [shard.sha256 for shard in first.shards] == [shard.sha256 for shard in second.shards]


def test_a_making_that_is_interrupted_leaves_no_set_and_nothing_in_the_way_of_the_next(world: World) -> None:
    world.objects.full_after = 3
    with pytest.raises(Retry):
        world.make(per_shard=3)
    assert asyncio.run(world.sets.names()) == []
    with pytest.raises(DatasetError, match="there is no set july; there are: none"):
        world.check()
    world.objects.full_after = None
    manifest = world.make(per_shard=20)
    assert world.objects.keys(SETS) == {"july/manifest.json", *(shard.key for shard in manifest.shards)}
    assert world.check().good


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ({}, range(12)),
        ({"include": ["hot_spot"]}, [3, 4]),
        ({"include": ["hot_spot", "energy"]}, [3, 4, 9]),
        ({"exclude": ["energy"]}, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]),
        ({"include": ["hot_spot"], "exclude": ["energy"]}, [3]),
        ({"start": START + 2 * PERIOD, "end": START + 5 * PERIOD}, [2, 3, 4]),
        ({"places": ["LA-A2-00"]}, range(12)),
        ({"most": 3}, [0, 6, 11]),
        ({"most": 50}, range(12)),
    ],
)
def test_a_query_chooses_shots(query: dict[str, Any], chosen: Sequence[int], world: World) -> None:
    world.facts.detect(3, AnomalyKind.HOT_SPOT)
    world.facts.detect(4, AnomalyKind.HOT_SPOT, AnomalyKind.ENERGY)
    world.facts.detect(9, AnomalyKind.ENERGY)
    manifest = world.make(**query)
    assert numbers(manifest) == list(chosen)
    kinds = {
        shot: kinds for each in manifest.groups for shot, kinds in zip(each.shots, each.kinds, strict=True)
    }
    assert all(kinds[f"shot-{n}"] == list(world.facts.shots[n].verdict.kinds) for n in chosen)


def test_feedback_on_a_shot_counts_for_more_than_what_was_found(world: World) -> None:
    hot_spot = frozenset({AnomalyKind.HOT_SPOT})
    world.facts.detect(3, AnomalyKind.HOT_SPOT)
    world.facts.expected = {"shot-3": ShotLabels(false=hot_spot), "shot-7": ShotLabels(confirmed=hot_spot)}
    manifest = world.make(include=["hot_spot"])
    assert numbers(manifest) == [7]
    assert {tuple(kinds) for each in manifest.groups for kinds in each.kinds} == {("hot_spot",)}


def test_a_long_pause_between_shots_hides_none(world: World) -> None:
    month = 30 * 86_400_000
    world.facts.shots[6:] = [replace(shot, pulse=shot.pulse + month) for shot in world.facts.shots[6:]]
    assert numbers(world.make()) == list(range(SHOTS))


@pytest.mark.parametrize("query", [{"places": ["LB-A2-00"]}, {"include": ["trend"]}, {"end": START}])
def test_a_query_that_chooses_nothing_is_refused_and_explains_what_to_do(
    query: dict[str, Any], world: World
) -> None:
    with pytest.raises(DatasetError, match="no shot matches: ask for another time"):
        world.make(**query)
    assert asyncio.run(world.sets.names()) == []


def test_examples_whose_blocks_have_expired_are_left_out_and_counted(world: World) -> None:
    del world.objects.kept["blocks", f"0/{CAMERAS[0]}.arrow"]
    del world.objects.kept["blocks", f"2/{SPECTROMETERS[0]}.arrow"]
    manifest = world.make()
    assert (manifest.counts.matched, manifest.counts.shots) == (12, 8)
    assert (manifest.counts.examples, manifest.counts.expired) == (12, 12)
    assert len(world.read(manifest)) == 12
    world.objects.kept = {}
    with pytest.raises(DatasetError, match="12 shots match, but none has a valid frame"):
        world.make("later")


def test_a_set_is_never_overwritten(world: World) -> None:
    made = world.make()
    with pytest.raises(DatasetError, match=r"there is a set july already.*take another name"):
        world.make(most=1)
    assert asyncio.run(world.sets.find("july")) == made


@pytest.mark.parametrize("name", ["", "July", "a/b", "../x", ".hidden"])
def test_a_name_that_is_no_key_is_refused(name: str, world: World) -> None:
    with pytest.raises(DatasetError, match="is not a valid name"):
        world.make(name)


def test_progress_ends_with_all_examples(world: World) -> None:
    world.make()
    assert [step["step"] for step in world.reported[:2]] == ["choosing", "planning"]
    assert json.loads(json.dumps(world.reported))[-1] == {"step": "writing", "examples": 24, "of": 24}


def test_a_check_finds_a_good_set_good(world: World) -> None:
    world.make(per_shard=10)
    checked = world.check()
    assert checked.good
    assert (checked.shards, checked.blocks, checked.expired, checked.revised) == (3, 12, 0, 0)


def test_a_check_finds_shards_that_are_gone_or_changed(world: World) -> None:
    first, second, _ = world.make(per_shard=10).shards
    world.objects.kept[SETS, first.key] = b"something else"
    del world.objects.kept[SETS, second.key]
    checked = world.check()
    assert not checked.good
    assert checked.broken == (
        f"the shard {first.key} is not as the manifest describes it",
        f"the shard {second.key} is gone",
    )


def test_a_block_that_expired_is_lost_only_with_its_file(world: World) -> None:
    world.make()
    for device in CAMERAS:
        del world.objects.kept["blocks", f"1/{device}.arrow"]
    assert (world.check().expired, world.check().lost, world.check().good) == (2, (), True)
    world.objects.kept["data", raw_key(CAMERAS[1], 1)] = b"came again with other content"
    checked = world.check()
    assert (checked.expired, checked.lost) == (1, (f"1/{CAMERAS[1]}.arrow",))
    assert not checked.good


def test_a_check_reports_shots_that_changed_since(world: World) -> None:
    world.make()
    world.facts.later_revisions = {"shot-3", "shot-7"}
    assert world.check().revised == 2


def test_a_stream_can_be_read_again_and_has_one_shard_on_disk_at_a_time(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    manifest = world.make(per_shard=4)
    on_disk = []

    def fetch(shard: Shard) -> bytes:
        on_disk.append(len(list(tmp_path.rglob("*.tfrecord"))))
        return world.fetch(shard)

    examples = stream(manifest, fetch)
    assert sum(1 for _ in examples) == sum(1 for _ in examples) == 24
    assert on_disk == [0] * 12
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_not_the_one_of_the_manifest_is_not_trained_on(world: World) -> None:
    manifest = world.make()
    world.objects.kept[SETS, manifest.shards[0].key] = b""
    with pytest.raises(Exception, match="is not as the manifest describes it"):
        world.read(manifest)


def test_a_trainer_gets_the_frames_of_each_camera_in_the_order_of_time(world: World) -> None:
    cameras = read_cameras(world.make(per_shard=5), world.fetch, most=5)
    assert tuple(camera.device for camera in cameras) == CAMERAS
    for camera in cameras:
        chosen = ((camera.times - START) // PERIOD).tolist()
        assert chosen == [0, 3, 6, 8, 11]
        np.testing.assert_array_equal(camera.frames, [recorded(camera.device, n)["image"] for n in chosen])


def test_the_command_line_states_what_to_make() -> None:
    where = "--from 2022-07-01T07:33 --places LA-A1-11,LA-A2-00"
    asked = parse(f"make july {where} --include hot_spot,energy --most 9".split())
    assert asked.name == "july"
    assert asked.start == datetime(2022, 7, 1, 7, 33, tzinfo=UTC)
    assert asked.places == ("LA-A1-11", "LA-A2-00")
    assert asked.include == (AnomalyKind.HOT_SPOT, AnomalyKind.ENERGY)
    assert (asked.end, asked.exclude, asked.most, asked.incomplete) == (None, (), 9, False)


@pytest.mark.parametrize(
    "wrong", ["make", "make july --include sabotage", "make july --most many", "remove july"]
)
def test_wrong_arguments_end_the_program(wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(wrong.split())
    assert ended.value.code == 2
