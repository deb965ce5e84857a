"""Day tables on real servers hold what the REST API returns; what is reprocessed is replaced."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import matplotlib
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

from shotwatch_common.tables.table_store import TableStore
from shotwatch_embedded.description import running_stacks
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_simulator.simulation import Simulation, simulate
from shotwatch_tables.manifest import day_start

from .conftest import FAULTS, Running
from .test_cli import shotwatch
from .waiting import until

SERIES = ShotSeries.parse("LA-FSD-00-1s")
START = datetime(2024, 11, 11, 8, 59, 57, tzinfo=UTC)
"""Three seconds before the end of an hour, on a day of which no other test has shots."""
LENGTH = timedelta(seconds=7)
ANOTHER_DAY = START + timedelta(days=1)
STEPS = ("after_note", "after_table_check", "after_table_file", "after_manifest", "after_hour")
"""The points between two effects of the compaction, in their order."""
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "day-tables.md"


def simulated(running: Running, series: str, start: datetime, folder: Path) -> list[Path]:
    expected = running.facility.expected_devices(ShotSeries.parse(series))
    assert expected is not None
    return list(simulate(Simulation(running.facility, (expected,), start, LENGTH), folder))


async def rows(running: Running, start: datetime = START) -> list[dict[str, Any]]:
    """Return the shots of the files that the manifest of a day names."""
    store = TableStore(running.store, running.settings.table_bucket)
    found = []
    for file in (await store.manifest(SERIES.place, day_start(epoch_ms(start)))).files:
        data = await running.store.get(running.settings.table_bucket, file.key)
        found += pq.read_table(io.BytesIO(data)).to_pylist()
    return found


async def shots_of(api: httpx.AsyncClient, start: datetime) -> dict[str, dict[str, Any]]:
    """Return what the REST API has of each shot."""
    span = {"from": start.isoformat(), "to": (start + LENGTH).isoformat(), "place": str(SERIES.place)}
    page = (await api.get("/api/v1/shots", params=span)).json()
    return {each["id"]: (await api.get(f"/api/v1/shots/{each['id']}")).json() for each in page["shots"]}


def agrees(row: dict[str, Any], shot: dict[str, Any]) -> bool:
    """Return whether a row holds what the REST API returns of its shot."""
    names = ("revision", "complete", "missing", "score", "threshold", "severity", "kinds", "trace_id")
    members = {
        f"{member['device'].replace('-', '_')}.{name}": member[name]
        for member in shot["members"]
        for name in ("verdict", "on", "block", "row", "raw_object")
    }
    measured = {name: value for name, value in row.items() if "." in name and isinstance(value, float)}
    features = {
        f"{each['device'].replace('-', '_')}.{each['name']}": each["value"] for each in shot["features"]
    }
    return (
        row["time"].isoformat() == datetime.fromisoformat(shot["time"]).isoformat()
        and {name: row[name] for name in names} == {name: shot[name] for name in names}
        and {name: row[name] for name in members} == members
        and measured.keys() == features.keys()
        and all(measured[name] == pytest.approx(features[name], rel=1e-6) for name in features)
    )


@pytest.fixture(scope="module")
async def recorded(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    files = simulated(running, str(SERIES), START, tmp_path_factory.mktemp("recorded"))
    await running.upload(*files)
    await running.judged()
    return files


@pytest.fixture
async def api(running: Running) -> Any:
    [stack] = running_stacks(running.stack.folder.parent)
    key = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.query_urls[0], headers=key) as client:
        yield client


async def all_agree(running: Running, api: httpx.AsyncClient, start: datetime = START) -> bool:
    """Return whether the table has each shot of the REST API once, with the same content, and no other."""
    found, shots = await rows(running, start), await shots_of(api, start)
    return (
        bool(shots)
        and sorted(row["shot"] for row in found) == sorted(shots)
        and all(agrees(row, shots[row["shot"]]) for row in found)
    )


async def reprocess(running: Running) -> None:
    """Judge all shots again, window by window."""
    when = ("--from", START.replace(second=0).isoformat(), "--to", (START + LENGTH).isoformat())
    result = await shotwatch(running, "reprocess", *when, "--stage", "inference", "--rate", "6000", "--json")
    assert result.exit_code == 0, result.stderr


async def revisions(running: Running) -> dict[str, int]:
    return {row["shot"]: row["revision"] for row in await rows(running)}


async def replaced(running: Running, before: dict[str, int]) -> bool:
    """Return whether the table has the same shots, each at a newer revision."""
    now = await revisions(running)
    return now.keys() == before.keys() and all(now[shot] > before[shot] for shot in now)


async def test_the_table_is_what_the_api_returns_and_reprocessing_replaces_it(
    running: Running, recorded: Sequence[Path], api: httpx.AsyncClient
) -> None:
    await until(lambda: all_agree(running, api), "a table of all shots")
    before = await revisions(running)
    assert len(before) == LENGTH.seconds
    await reprocess(running)
    await until(lambda: replaced(running, before), "a table of the new revisions", seconds=60)
    await until(lambda: all_agree(running, api), "a table that agrees")


@pytest.mark.parametrize("step", STEPS)
async def test_a_writer_that_dies_loses_no_shot_and_doubles_none(
    running: Running, recorded: Sequence[Path], api: httpx.AsyncClient, step: str
) -> None:
    await until(lambda: all_agree(running, api), "a table of all shots")
    before = await revisions(running)
    armed = arm(running, step)
    await reprocess(running)
    await until(died_at(armed), "a death of history")
    await until(lambda: replaced(running, before), "a table of the new revisions")
    await until(lambda: all_agree(running, api), "a table that agrees")


def arm(running: Running, step: str) -> Path:
    """Let history die when it next reaches a step; return what is removed then."""
    armed = running.stack.folder / FAULTS / f"history.{step}"
    armed.touch()
    return armed


def died_at(armed: Path) -> Callable[[], Awaitable[bool]]:
    async def died() -> bool:
        return not await asyncio.to_thread(armed.exists)

    return died


@pytest.fixture(scope="module")
async def late(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of one device, not uploaded yet. Those of the others are; history dies at each step."""
    *files, late = simulated(running, str(SERIES), ANOTHER_DAY, tmp_path_factory.mktemp("late"))
    for step in STEPS:
        arm(running, step)
    await running.upload(*files)
    return late


@pytest.mark.timeout(600)  # history starts six times, after longer and longer pauses
async def test_a_writer_that_dies_at_each_step_of_the_first_table_loses_no_shot(
    running: Running, late: Path, api: httpx.AsyncClient
) -> None:
    for step in STEPS:
        await until(died_at(running.stack.folder / FAULTS / f"history.{step}"), f"a death {step}")
    await until(lambda: all_agree(running, api, ANOTHER_DAY), "a table that agrees")
    found = await rows(running, ANOTHER_DAY)
    assert len(found) == LENGTH.seconds
    assert not any(row["complete"] for row in found)


async def test_a_late_file_shows_within_a_minute(
    running: Running, late: Path, api: httpx.AsyncClient
) -> None:
    await until(lambda: all_agree(running, api, ANOTHER_DAY), "a table that agrees")

    async def is_complete() -> bool:
        found = await rows(running, ANOTHER_DAY)
        return all(row["complete"] for row in found)

    await running.upload(late)
    await until(is_complete, "a table with the late file", seconds=60)
    assert await all_agree(running, api, ANOTHER_DAY)


async def test_the_examples_of_the_guide_run_as_they_are_written(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All in one namespace, as in a notebook. Each library finds the same shots."""
    day = datetime(2022, 7, 1, 10, tzinfo=UTC)
    await running.upload(*simulated(running, "LA-A2-00-1s", day, tmp_path))
    await running.judged()
    store = TableStore(running.store, running.settings.table_bucket)
    place, begins = ShotSeries.parse("LA-A2-00-1s").place, epoch_ms(day) // 86_400_000 * 86_400_000

    async def written() -> bool:
        return bool((await store.manifest(place, begins)).files)

    await until(written, "a table of the day")
    matplotlib.use("Agg")
    for name, value in running.stack.environment().items():
        if name.startswith("SHOTWATCH_STORE_"):
            monkeypatch.setenv(name, value)
    namespace: dict[str, Any] = {}
    blocks = MarkdownIt().parse(GUIDE.read_text(encoding="utf-8"))
    examples = [each.content for each in blocks if each.type == "fence" and each.info == "python"]
    assert len(examples) == 5
    await asyncio.to_thread(run, examples, namespace)
    shots = namespace["shots"].to_table(columns=["time", "anomalous", namespace["energy"]])
    assert shots.num_rows == len(namespace["frame"]) >= LENGTH.seconds
    assert namespace["by_minute"]["anomalies"].sum() == pc.sum(shots["anomalous"]).as_py()
    assert len(namespace["worst"]) == min(shots.num_rows, 10)
    weak = pc.sum(pc.less(shots[namespace["energy"]], 60)).as_py() or 0
    assert namespace["weak"].num_rows == weak
    assert namespace["about"]["columns"]["energy"]["unit"] == "J"


def run(examples: Sequence[str], namespace: dict[str, Any]) -> None:
    for example in examples:
        exec(compile(example, str(GUIDE), "exec"), namespace)
