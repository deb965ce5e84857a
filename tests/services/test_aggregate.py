"""aggregate as a whole, on servers in memory."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from shotwatch_common.settings import Settings
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_shots.reconciliation.slices import Equality, Slice
from tests.support.faults import survived_every_fault
from tests.support.world import LASER, SERVERS, World

from .conftest import SHOTS
from .plays import aggregate, ingest, validate


async def test_the_records_of_all_files_become_one_batch_of_complete_shots(validated: World) -> None:
    world = validated.fork()
    await aggregate(world)
    [sent] = world.outcome().messages["features"]
    batch = json.loads(sent)
    assert batch["complete"] == [True] * len(SHOTS)
    assert len(batch["members"]) == 5
    assert all(document["joined_at"] for document in world.documents("objects"))
    noted = [document["refused"] for document in world.documents("objects")]
    assert sorted(noted, key=len) == [{}] * 4 + [{"black_frame": 1}]
    [window] = world.documents("windows")
    assert window["outbox"] == {}


async def test_it_saves_then_publishes_then_notes_and_survives_every_fault(validated: World) -> None:
    done = await survived_every_fault(validated, aggregate)
    assert done[-7:] == [
        "update_one windows.place",
        "update_one batches.window",
        "publish features",
        "update_one windows.outbox",
        "update_one windows.outbox_since",
        "update_one objects.refused",
        "acknowledge aggregate",
    ]


async def test_shots_that_lack_devices_close_late_and_survive_every_fault(arrived: World) -> None:
    world = arrived.fork()
    world.keep_in_inbox("Camera-1")
    await ingest(world)
    await validate(world)
    done = await survived_every_fault(world, aggregate)
    assert done.index("acknowledge aggregate") < done.index("publish features")


HONEST, EVIL = "LA_Meters-A1-11", "x" * 660
METERS = ("LA_A1_11-EM_1-EnergyMeter-1", "LA_A1_11-EM_2-EnergyMeter-2")


async def test_small_files_with_long_names_keep_no_other_file_of_their_minute_out(tmp_path: Path) -> None:
    """160 of them fill the document of the window. One honest file arrives before them, one behind them."""
    world = World()
    await world.upload(name_of(HONEST), meters(tmp_path, range(0, 600, 2)))
    world.now_s += 1
    for n in range(160):
        await world.upload(name_of(f"{EVIL}{n}"), meters(tmp_path, [n], METERS[:1]))
    world.now_s += 1
    await world.upload(name_of(f"{HONEST}-again"), meters(tmp_path, range(300, 600)))
    for service in (ingest, validate, aggregate):
        await service(world)
    assert not world.outcome().dead
    [window] = [each for each in world.documents("windows") if each["_id"].startswith("LA-A1-11-100ms")]
    joined = {device["device"]: np.frombuffer(device["source"], "<i2") >= 0 for device in window["devices"]}
    assert all(present[300:].all() and present[160:300:2].all() for present in joined.values())
    assert joined[METERS[1]].sum() == 150 + 300
    assert {document["object_key"][:4] for document in world.documents("unused_sources")} == {"LA_x"}
    assert await records_differ(world) == []


@pytest.mark.parametrize("read_first", ["earlier", "later"])
async def test_of_files_with_the_same_records_the_one_stored_last_counts_and_is_named_pulse_by_pulse(
    tmp_path: Path, read_first: str
) -> None:
    """Its name does not matter, nor which file is read first. The other file stays and is counted."""
    world = World()
    await world.upload(name_of(HONEST), meters(tmp_path, range(600)))
    world.now_s += 1
    await world.upload(name_of("Another"), meters(tmp_path, range(300, 600)))
    for service in (ingest, validate):
        await service(world)
    if read_first == "later":
        world.broker.queues["aggregate"].reverse()
    await aggregate(world)
    with world.in_its_time():
        [stored] = [d["_id"] for d in world.documents("windows") if d["_id"].startswith("LA-A1-11-100ms")]
        window = await world.archive.windows.load(stored, LASER.interval)
    assert window is not None
    for device in METERS:
        columns = window.devices[device]
        keys = [columns.sources[n].block.object_key for n in columns.source.tolist()]
        assert keys == 300 * [name_of(HONEST)] + 300 * [name_of("Another")]
        assert {each.block.object_key: each.displaced for each in columns.sources} == {
            name_of(HONEST): 300,
            name_of("Another"): 0,
        }
    assert {each["state"] for each in world.documents("objects")} == {"ingested"}
    assert len([key for key in world.store.buckets["data"] if key.endswith(".h5")]) == 2
    assert await records_differ(world) == []


def name_of(recorder: str) -> str:
    return f"LA_{recorder.removeprefix('LA_')}_100ms_snapshot_2025-10-09_08-00-00.h5"


def meters(folder: Path, pulses: Iterable[int], devices: Sequence[str] = METERS) -> bytes:
    path = folder / "meters.h5"
    with h5py.File(path, "w") as file:
        for pulse in pulses:
            for device in devices:
                second, tenth = divmod(pulse, 10)
                record = file.create_group(f"08-00-{second:02}-{tenth}00/{device}")
                record["STATE"] = np.bytes_(b"ON")
                record["energy1Corrected"] = record["energy2Corrected"] = 4.0
    return path.read_bytes()


class _EmptyQueues:
    async def under_way(self, *_stages: str) -> bool:
        return False


async def records_differ(world: World) -> list[str]:
    """What the ledger's equality of records finds wrong with the files that arrived in this hour."""
    settings = Settings.model_validate(SERVERS)
    collector = Collector(
        world.archive, world.objects, LASER, settings, _EmptyQueues(), Allowances(settling=0)
    )
    with world.in_its_time():
        outcome = await collector.compare(Slice.at(Equality.RECORDS, int(1000 * world.now_s)))
    return [str(each) for each in outcome.imbalances]
