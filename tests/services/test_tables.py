"""history writes day tables, on servers in memory: each judged shot once, at its newest revision."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shotwatch_common.archive.measurements import Source
from shotwatch_history import service
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.shot import ShotVerdict
from tests.support.effects import Fault
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .conftest import FLAWED, SHOTS, after
from .plays import features, history, inference, query
from .test_history import Rests
from .test_retention import later

DAY = "place=LA-FSD-00/day=2025-10-09/"
HOUR_S = 3600
METER = "LA_FSD_EM_1_EnergyMeter_1"


def manifest(world: World) -> dict[str, Any]:
    stored = world.store.buckets["tables"][f"{DAY}_manifest.json"]
    found: dict[str, Any] = json.loads(stored.data)
    return found


def rows(world: World) -> list[dict[str, Any]]:
    """Return the shots of the files that the manifest of the day names."""
    return [
        row
        for file in manifest(world)["files"]
        for row in pq.read_table(io.BytesIO(world.store.buckets["tables"][file["key"]].data)).to_pylist()
    ]


def files(world: World) -> set[str]:
    return {key for key in world.store.buckets["tables"] if key.endswith(".parquet")}


@pytest.fixture
def other_jobs_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only day tables are written and deleted."""
    others = "TrendWatch", "ReferenceRenewal", "DriftWatch", "PromotionWatch", "LedgerWatch", "ShotRetention"
    for job in others:
        monkeypatch.setattr(service, job, Rests)


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """Three shots are judged and measured in detail, and their hour is closed."""
    world = await after(await after(measured, inference), features)
    return later(world, HOUR_S / 86_400)


@pytest.fixture(scope="module")
async def tabled(judged: World) -> World:
    return await after(judged, history)


async def test_each_row_is_what_the_api_returns_of_the_shot(tabled: World) -> None:
    found = rows(tabled)
    assert [row["shot"] for row in found] == SHOTS
    async with query(tabled, query_open=True) as client:
        for row in found:
            shot = (await client.get(f"/api/v1/shots/{row['shot']}")).json()
            names = ("revision", "complete", "missing", "score", "threshold", "severity", "kinds", "trace_id")
            assert {name: row[name] for name in names} == {name: shot[name] for name in names}
            assert row["events"] == [each["id"] for each in shot["reasons"]["anomalies"]]
            assert measured_of(row) == {
                (each["device"].replace("-", "_"), each["name"]): pytest.approx(each["value"], rel=1e-6)
                for each in shot["features"]
            }
            for member in shot["members"]:
                column = member["device"].replace("-", "_")
                of_row = {
                    name: row[f"{column}.{name}"] for name in ("verdict", "on", "block", "row", "raw_object")
                }
                assert of_row == {name: member[name] for name in of_row}


def measured_of(row: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Return the features of a row that have a value."""
    return {
        (device, feature): value
        for name, value in row.items()
        for device, point, feature in [name.partition(".")]
        if point and isinstance(value, float)
    }


async def test_an_anomalous_shot_has_its_kinds_and_its_incident(tabled: World) -> None:
    (flawed,) = [row for row in rows(tabled) if row["anomalous"]]
    assert (flawed["shot"], flawed["kinds"]) == (FLAWED, ["black_frame"])
    (event,) = {row["event"]["data"]["incident"] for row in tabled.documents("events")}
    assert flawed["incidents"] == [event]


async def test_an_hour_that_is_not_over_has_no_table(measured: World) -> None:
    world = await after(await after(measured, inference), history)
    assert not world.store.buckets["tables"]
    assert [each["start"] for each in world.documents("tables") if each.get("what") == "hour"] == [
        1_759_996_800_000
    ]


@pytest.mark.usefixtures("other_jobs_rest")
async def test_what_did_not_change_is_not_written_again(tabled: World) -> None:
    world = tabled.fork()
    await history(later(world, 0))
    assert not [effect for effect in world.effects.done if "tables/" in effect]


async def revise(world: World, energy: float) -> None:
    """Close and judge the second shot again, with another energy."""
    (stored,) = world.documents("batches")
    batch = ShotBatch.model_validate_json(stored["message"])
    one = batch.model_copy(
        update={
            "batch_id": "revised",
            "pulses": batch.pulses[1:2],
            "revisions": np.array([2]),
            "complete": np.array([True]),
            "members": [
                member.model_copy(
                    update={name: getattr(member, name)[1:2] for name in ("source", "row", "verdict", "on")}
                )
                for member in batch.members
            ],
        }
    )
    with world.in_its_time():
        archive = world.archive
        await archive.batches.add(one)
        measured = {"LA_FSD-EM_1-EnergyMeter-1": {"energy": np.array([energy])}}
        await archive.measurements.keep(one, Source.FEATURES, measured)
        await archive.shots.write(one, [ShotVerdict(1.5, 4.0)], None, "trace")
        await archive.batches.judged("revised")


@pytest.mark.usefixtures("other_jobs_rest")
async def test_a_revised_shot_is_replaced_and_the_earlier_file_removed_after_the_grace(tabled: World) -> None:
    world = later(tabled, 0)
    await revise(world, 12.5)
    await history(world)
    changed = rows(world)
    assert [row["shot"] for row in changed] == SHOTS
    assert [(row["revision"], row["score"]) for row in changed][1] == (2, 1.5)
    assert changed[1][f"{METER}.energy"] == 12.5
    assert [changed[0], changed[2]] == [rows(tabled)[0], rows(tabled)[2]]
    assert files(tabled) < files(world)  # a reader of the earlier manifest still finds its files
    world = await after(later(world, 1), history)
    assert files(world) == {file["key"] for file in manifest(world)["files"]}
    assert rows(world) == changed


async def test_shots_that_the_database_deleted_stay_in_the_table(tabled: World) -> None:
    world = later(tabled, 0)
    world.database["shotwatch"]["events"].documents.clear()
    await history(later(world, 91))
    world.now_s += 91 * 86_400
    await history(world)
    assert not world.documents("shots")
    assert rows(world) == rows(tabled)
    world = later(world, 0)
    world.database["shotwatch"]["batches"].documents.update(tabled.database["shotwatch"]["batches"].documents)
    await revise(world, 12.5)
    await history(world)
    assert [(row["shot"], row["revision"]) for row in rows(world)] == [
        (shot, 2 if n == 1 else 1) for n, shot in enumerate(SHOTS)
    ]


@pytest.mark.usefixtures("other_jobs_rest")
async def test_whatever_fails_no_row_is_lost_and_none_is_double(judged: World) -> None:
    done = await survived_every_fault(judged, history)
    steps = ["bulk_write tables", "put tables/", "put tables/", "delete_one tables"]
    assert in_order(steps, done), done


@pytest.mark.usefixtures("other_jobs_rest")
async def test_whatever_fails_a_revision_replaces_its_shot(tabled: World) -> None:
    start = later(tabled, 0)
    await revise(start, 12.5)
    done = await survived_every_fault(start, history)
    steps = [
        "put tables/place=LA-FSD-00/day=2025-10-09/hour-08",
        "put tables/place=LA-FSD-00/day=2025-10-09/_m",
    ]
    assert in_order(steps, done), done


async def for_hours(world: World) -> None:
    """Run history, and again when the files that were replaced are no longer needed, until all is checked."""
    for _ in range(3):
        await history(world)
        world.now_s += HOUR_S


@pytest.mark.slow
@pytest.mark.usefixtures("other_jobs_rest")
async def test_whatever_fails_a_file_that_was_replaced_is_removed(tabled: World) -> None:
    """The check of the file that was noted when it was written is long done."""
    start = await after(later(tabled, HOUR_S / 86_400), history)
    assert not [each for each in start.documents("tables") if each.get("what") == "file"]
    await revise(start, 12.5)
    done = await survived_every_fault(start, for_hours)
    assert [effect for effect in done if effect.startswith("remove tables/")], done


@pytest.mark.usefixtures("other_jobs_rest")
async def test_whatever_fails_an_old_day_is_deleted(tabled: World) -> None:
    done = await survived_every_fault(later(tabled, 366), for_hours)
    removed = [effect for effect in done if effect.startswith("remove tables/")]
    assert [effect.endswith(".json") for effect in removed] == [True, False], done


def in_order(steps: list[str], done: object) -> bool:
    """Return whether the effects begin with these texts, in this order, with others in between."""
    remaining = iter(done if isinstance(done, list) else [])
    return all(any(effect.startswith(step) for effect in remaining) for step in steps)


@pytest.mark.usefixtures("other_jobs_rest")
async def test_at_each_moment_a_manifest_names_files_that_exist_and_every_shot_once(judged: World) -> None:
    """A reader may come between any two effects of the writer."""
    start = await after(judged, history)
    await revise(start := later(start, 0), 12.5)
    at = 0
    while True:
        world = start.fork(Fault.DIED, at)
        world.now_s += 20
        await once(world)
        assert [row["shot"] for row in rows(world)] == SHOTS
        if not world.effects.happened:
            break
        at += 1
    assert rows(world)[1]["revision"] == 2


async def once(world: World) -> None:
    """Run the compaction once; it may die."""
    from tests.support.effects import Died

    try:
        await world.run(service.assemble, HistorySettings)
    except Died:
        return


@pytest.mark.usefixtures("other_jobs_rest")
async def test_who_has_no_lease_writes_nothing(judged: World) -> None:
    world = judged.fork()
    with world.in_its_time():
        assert await world.archive.tables.lease("another replica", 3_600_000)
    await history(world)
    assert not world.store.buckets["tables"]
    world.now_s += 3_600
    await history(world)
    assert [row["shot"] for row in rows(world)] == SHOTS


@pytest.mark.usefixtures("other_jobs_rest")
async def test_old_tables_expire_after_their_last_change(tabled: World) -> None:
    world = await after(later(tabled, 364), history)
    assert rows(world) == rows(tabled)
    world = await after(later(tabled, 366), history)
    assert f"{DAY}_manifest.json" not in world.store.buckets["tables"]
    world = await after(later(world, 1), history)
    assert not world.store.buckets["tables"]


@pytest.mark.usefixtures("other_jobs_rest")
async def test_who_has_no_lease_deletes_nothing(tabled: World) -> None:
    world = later(tabled, 366)
    with world.in_its_time():
        assert await world.archive.tables.lease("another replica", 3_600_000)
    await history(world)
    assert rows(world) == rows(tabled)
    world.now_s += 3_600
    await history(world)
    assert f"{DAY}_manifest.json" not in world.store.buckets["tables"]


@pytest.mark.usefixtures("other_jobs_rest")
async def test_a_table_that_was_damaged_is_made_again_from_the_shots(tabled: World) -> None:
    world = later(tabled, 0)
    (key,) = files(world)
    del world.store.buckets["tables"][key]
    await revise(world, 12.5)
    await history(world)
    assert [row["shot"] for row in rows(world)] == SHOTS
    assert pa.Table.from_pylist(rows(world)).num_rows == 3
