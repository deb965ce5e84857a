"""query as a whole, on servers in memory: tables of shots, in files and in the database."""

import asyncio
import csv
import io
import json
import threading
from dataclasses import replace
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shotwatch_common.tables.archived import ArchivedShots
from shotwatch_common.tables.table_store import TableStore
from shotwatch_query.domain.pages import PageCursor, Position, Span
from shotwatch_query.expressions import TableQuestion
from shotwatch_query.routes.tables import cost, places
from shotwatch_shots.place import Place
from shotwatch_shots.pulses import epoch_ms
from shotwatch_tables.manifest import DayManifest, TableFile, day_start, file_key, hour_start
from shotwatch_tables.pieces import write_pieces
from shotwatch_tables.ranges import column_ranges
from shotwatch_tables.schema import ShotTableSchema
from tests.support.world import LASER, World

from .conftest import FLAWED, SERIES, SHOTS, START, after
from .plays import inference, query

SPAN = {"place": str(SERIES.place), "from": "2025-10-09T07:00:00Z", "to": "2025-10-09T10:00:00Z"}
HOUR = hour_start(epoch_ms(START))
SCHEMA = ShotTableSchema.of(LASER, SERIES.place)
METER = next(each for each in SCHEMA.by_name if each.endswith(".energy"))
CAMERA = next(each for each in SCHEMA.by_name if each.endswith(".centroid_x"))


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """The shots are judged, and no file has them yet."""
    world = await after(measured, inference)
    world.store.buckets["tables"] = {}
    return world


async def compacted(judged: World, shots: int, **changed: pa.Array) -> World:
    """Return servers with a file of the hour that has the first few shots, some columns of which differ."""
    world = judged.fork()
    table = await table_of(world, shots)
    for name, column in changed.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    await publish(world, SERIES.place, table)
    return world


async def table_of(world: World, shots: int) -> pa.Table:
    """Return the table of the first few shots."""
    with world.in_its_time():
        made = ArchivedShots(world.archive).tables(SCHEMA, HOUR, HOUR + 3_600_000)
        return pa.concat_tables([each async for each in made]).slice(0, shots)


async def publish(world: World, place: Place, table: pa.Table) -> None:
    """Make a table the file of the hour of a place."""
    written, store = write_pieces(table), TableStore(world.objects, "tables")
    file = TableFile(
        key=file_key(place, HOUR, written.content),
        start=HOUR,
        rows=len(table),
        size=written.content.size,
        first=HOUR,
        last=HOUR + 3_599_999,
        pieces_at=written.pieces_at,
        pieces_size=written.pieces_size,
        ranges=column_ranges(table),
    )
    with world.in_its_time():
        await store.put_file(file.key, written.content)
        await store.put_manifest(DayManifest(place=place, day=day_start(HOUR)).with_file(file))


async def ask(world: World, **asked: Any) -> httpx.Response:
    async with query(world, query_open=True) as client:
        return await client.get("/api/v1/tables/shots", params={**SPAN, **asked})


async def columns(world: World, **asked: Any) -> dict[str, list[Any]]:
    response = await ask(world, **asked)
    assert response.status_code == 200, response.text
    return {each["name"]: each["values"] for each in response.json()["columns"]}


async def test_rows_have_what_the_api_has_of_each_shot(judged: World) -> None:
    async with query(judged, query_open=True) as client:
        expected = [(await client.get(f"/api/v1/shots/{shot}")).json() for shot in SHOTS]
    asked = await columns(judged, columns=[METER, CAMERA, "score", "kinds", "complete", "missing"])
    rows = [dict(zip(asked, row, strict=True)) for row in zip(*asked.values(), strict=True)]
    for row, shot in zip(rows, expected, strict=True):
        measured = {
            f"{each['device']}.{each['name']}".replace("-", "_"): each["value"] for each in shot["features"]
        }
        assert row["shot"] == shot["id"]
        assert row["time"] == shot["time"]
        for name in ("score", "kinds", "complete", "missing"):
            assert row[name] == shot[name]
        for name in (METER, CAMERA):
            assert row[name] == pytest.approx(measured.get(name), rel=1e-6)


async def test_rows_are_the_same_from_a_file_and_from_the_database(judged: World) -> None:
    world = await compacted(judged, 3)
    for asked in (
        {"where": f"{METER} > 0"},
        {"where": f"not {METER} is missing and complete"},
        {"derive": f"r = {METER} / previous({METER})"},
        {"columns": [each.name for each in SCHEMA.columns[:90]]},
    ):
        assert await columns(world, **asked) == await columns(judged, **asked)


async def test_a_closed_hour_is_read_from_its_file_alone(judged: World) -> None:
    world = await compacted(judged, 2, score=pa.array([77.0, 78.0]))
    assert (await columns(world))["score"] == [77, 78]
    world.store.buckets["tables"].clear()
    assert (await columns(world))["shot"] == SHOTS


async def test_a_file_without_a_match_by_its_manifest_is_not_read(judged: World) -> None:
    world = await compacted(judged, 2, score=pa.array([77.0, 78.0]))
    for key in [key for key in world.store.buckets["tables"] if key.endswith(".parquet")]:
        del world.store.buckets["tables"][key]
    for where in ("score > 78", "score < 77 and complete", "score > 100 or score is missing and score > 1"):
        assert (await columns(world, where=where, aggregate=["count"]))["count"] == []
    assert (await ask(world, where="score > 77.5")).status_code == 404
    assert (await ask(world, where="previous(score) > 100")).status_code == 404


async def test_a_manifest_of_an_earlier_version_has_no_ranges(judged: World) -> None:
    world = await compacted(judged, 2, score=pa.array([77.0, 78.0]))
    (key,) = (key for key in world.store.buckets["tables"] if key.endswith(".json"))
    stored = world.store.buckets["tables"][key]
    earlier = json.loads(stored.data)
    assert earlier["files"][0].pop("ranges")
    world.store.buckets["tables"][key] = replace(stored, data=json.dumps(earlier).encode())
    assert (await columns(world, where="score > 77.5"))["score"] == [78]
    assert (await columns(world, where="score > 78"))["score"] == []


async def test_shots_after_the_last_file_come_from_the_database_once(judged: World) -> None:
    world = await compacted(judged, 3)
    for window in ("previous(score)", f"rolling_mean({METER}, 3)"):
        asked = await columns(world, derive=f"x = {window}", **{"from": "2025-10-09T08:00:01Z"})
        assert asked["shot"] == SHOTS[1:]
        assert asked["x"] == (await columns(judged, derive=f"x = {window}"))["x"][1:]


async def test_where_finds_the_flawed_shot(judged: World) -> None:
    found = await columns(judged, where="anomalous")
    assert found["shot"] == [FLAWED]


async def test_pages_follow_each_other_by_cursor(judged: World) -> None:
    shots, cursor = [], None
    for _ in range(5):
        response = await ask(judged, limit=2, **({"cursor": cursor} if cursor else {}))
        document = response.json()
        (of_page,) = (each["values"] for each in document["columns"] if each["name"] == "shot")
        shots.append(of_page)
        cursor = document["next"]
        assert response.headers.get("X-Next-Cursor") == cursor
        if cursor is None:
            break
    assert shots == [SHOTS[:2], SHOTS[2:]]


async def test_each_format_has_the_same_rows(judged: World) -> None:
    asked = {"columns": [METER, "kinds", "severity", "complete", "judged_at"]}
    expected = await columns(judged, **asked)
    arrow = pa.ipc.open_stream((await ask(judged, format="arrow", **asked)).content).read_all()
    parquet = pq.read_table(io.BytesIO((await ask(judged, format="parquet", **asked)).content))
    assert arrow.equals(parquet)
    assert arrow.column_names == list(expected)
    for name in ("shot", "kinds", "severity", "complete"):
        assert arrow[name].to_pylist() == expected[name]
    assert arrow[METER].to_pylist() == pytest.approx(expected[METER], rel=1e-6)
    lines = list(csv.DictReader(io.StringIO((await ask(judged, format="csv", **asked)).text)))
    assert [line["shot"] for line in lines] == SHOTS
    assert [line["complete"] for line in lines] == [str(int(each)) for each in expected["complete"]]
    assert [line["kinds"].split() for line in lines] == expected["kinds"]
    assert [line["time"] for line in lines] == [f"2025-10-09T08:00:0{n}.000Z" for n in range(3)]


async def test_aggregates_by_minute(judged: World) -> None:
    asked = await columns(judged, aggregate=["count", f"mean({METER})", f"max({METER})"], every="minute")
    energies = (await columns(judged, columns=[METER]))[METER]
    known = [each for each in energies if each is not None]
    assert asked["time"] == ["2025-10-09T08:00:00Z"]
    assert asked["count"] == [3]
    assert asked[f"mean({METER})"] == [pytest.approx(sum(known) / len(known), rel=1e-6)]
    assert asked[f"max({METER})"] == [pytest.approx(max(known), rel=1e-6)]


async def test_columns_are_described(judged: World) -> None:
    async with query(judged, query_open=True) as client:
        response = await client.get("/api/v1/tables/shots/columns", params={"place": str(SERIES.place)})
        unknown = await client.get("/api/v1/tables/shots/columns", params={"place": "LZ"})
    by_name = {each["name"]: each for each in response.json()["columns"]}
    assert list(by_name) == [each.name for each in SCHEMA.columns]
    assert by_name[METER]["unit"] == "J"
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({"where": "scor > 1"}, 422, "where: line 1, column 1: there is no such column; did you mean score?"),
        ({"where": "score"}, 422, "a filter is true or false"),
        ({"derive": "x = scor"}, 422, "derive: line 1, column 5"),
        ({"derive": "score = 1"}, 422, "there is a column of this name already"),
        ({"derive": ["x = 1", "x = 2"]}, 422, "there is a column of this name already"),
        ({"aggregate": "mean(scor)"}, 422, "aggregate: line 1, column 6"),
        ({"aggregate": ["count", "count"]}, 422, "given twice"),
        ({"aggregate": "count", "columns": "score"}, 422, "columns: "),
        ({"aggregate": "percentile(score, 101)", "every": "day"}, 422, "0 to 100"),
        ({"columns": "scor"}, 422, "columns: there is no column scor; did you mean score?"),
        ({"place": "LZ"}, 404, "has no place LZ"),
        ({"interval": "7ms"}, 404, "has no place"),
        ({"cursor": "x"}, 422, "cursor: "),
        ({"from": "1999-01-01T00:00:00Z"}, 422, "more than 400 days"),
        ({"where": "a" * 4001}, 422, "a value that is not valid"),
        ({"where": "(" * 3000}, 422, "nested more than 30 deep"),
        ({"every": "year"}, 422, "a value that is not valid"),
        ({"format": "xml"}, 422, "a value that is not valid"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)
async def test_a_wrong_question_is_refused_with_its_reason(
    judged: World, asked: dict[str, Any], status: int, reason: str
) -> None:
    response = await ask(judged, **asked)
    assert response.status_code == status, response.text
    assert reason in response.json()["detail"]


async def test_an_error_in_an_expression_shows_its_place(judged: World) -> None:
    problem = (await ask(judged, where="score > 1\nand scor\u202e < 2")).json()
    assert problem["excerpt"] == ["and scor\\u202e < 2", "        ^"]
    problem = (await ask(judged, where="score > 1 and scor < 2")).json()
    assert problem["excerpt"] == ["score > 1 and scor < 2", "              ^^^^"]


async def test_a_search_that_costs_too_much_is_refused_before_it_begins(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "MOST_READ", 20_000)
    world = await compacted(judged, 3)
    assert (await ask(world, where=f"{METER} > 0")).status_code == 422
    assert (
        await ask(world, where=f"{METER} > 0", **{"from": SPAN["from"], "to": "2025-10-09T08:30:00Z"})
    ).status_code == 200
    response = await ask(world, where=f"rolling_mean({METER}, 1000) > 0", to="2025-10-09T08:30:00Z")
    assert "shorter windows" in response.json()["detail"]


async def test_aggregates_that_take_too_long_are_given_up(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "AGGREGATES_S", -1.0)
    response = await ask(judged, aggregate="count")
    assert response.status_code == 422
    assert "shorter span" in response.json()["detail"]


OTHER = min((each.place for each in LASER.places if each.interval == SERIES.interval), key=str)
"""A place that comes before SERIES, with the same interval."""


@pytest.fixture
async def two_places(judged: World) -> World:
    """The same three shots at two places."""
    world = judged.fork()
    table = await table_of(world, 3)
    of_whole_shots = [name for name in table.column_names if "." not in name]
    await publish(world, OTHER, table.select(of_whole_shots))
    return world


BOTH = [str(SERIES.place), str(OTHER)]


async def test_several_places_are_searched_place_by_place(two_places: World) -> None:
    assert str(OTHER) < str(SERIES.place)
    found = await columns(two_places, place=BOTH, where="score is missing or score > -1")
    assert list(found)[:3] == ["place", "shot", "time"]
    assert found["place"] == [str(OTHER)] * 3 + [str(SERIES.place)] * 3
    assert found["shot"] == SHOTS * 2
    of_area = await columns(two_places, place=str(SERIES.place.levels[0]), interval=SERIES.interval)
    assert of_area["place"] == found["place"]


async def test_pages_cross_from_place_to_place(two_places: World) -> None:
    rows, cursor, lengths = [], None, []
    for _ in range(9):
        response = await ask(two_places, place=BOTH, limit=2, **({"cursor": cursor} if cursor else {}))
        document = response.json()
        assert (document["place"], document["interval"]) == (None, None)
        of_page = {each["name"]: each["values"] for each in document["columns"]}
        rows += list(zip(of_page["place"], of_page["shot"], strict=True))
        lengths.append(len(of_page["shot"]))
        cursor = document["next"]
        if cursor is None:
            break
    assert rows == [(place, shot) for place in sorted(BOTH) for shot in SHOTS]
    assert max(lengths) == 2


async def test_aggregates_of_several_places_are_of_each(two_places: World) -> None:
    found = await columns(two_places, place=BOTH, aggregate=["count"])
    assert found["place"] == sorted(BOTH)
    assert found["count"] == [3, 3]


async def test_several_places_share_the_limits_and_the_columns_that_all_have(two_places: World) -> None:
    refused = await ask(two_places, place=BOTH, where=f"{METER} > 0")
    assert refused.status_code == 422
    assert f"where, of {OTHER}" in refused.json()["detail"]
    long = await ask(two_places, place=BOTH, **{"from": "2025-01-01T00:00:00Z"})
    assert "more than 200 days of 2 places" in long.json()["detail"]


@pytest.mark.parametrize("name", ["A", "zz", "\u202e"], ids=["before", "after", "no place"])
async def test_a_cursor_of_another_search_ends_or_goes_on(two_places: World, name: str) -> None:
    span = Span(HOUR, HOUR + 3_600_000)
    cursor = PageCursor(span, Position(HOUR, name)).encode()
    found = await columns(two_places, place=BOTH, cursor=cursor)
    assert found["shot"] == (SHOTS * 2 if name == "A" else [])


@pytest.mark.parametrize("part", ["manifest", "file"])
async def test_what_is_no_table_is_named(judged: World, part: str) -> None:
    world = await compacted(judged, 3)
    keys = world.store.buckets["tables"]
    [key] = (each for each in keys if each.endswith(".json") == (part == "manifest"))
    await world.objects.put("tables", key, b"forged", "text/plain")
    refused = await ask(world)
    assert refused.status_code == 503
    assert f"day={SPAN['from'][:10]}" in refused.json()["detail"]


async def test_a_window_that_reaches_before_the_calendar_ends_there(judged: World) -> None:
    first_hour = {"from": "0001-01-01T00:00:00Z", "to": "0001-01-01T01:00:00Z"}
    assert (await columns(judged, where="previous(score, 1000) > 0", **first_hour))["shot"] == []


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", "/api/v1/tables/shots", {"params": {**SPAN, "where": "score > 4"}}),
        (
            "PUT",
            "/api/v1/tables/searches/mine",
            {"json": {"place": [str(SERIES.place)], "where": "score > 4"}},
        ),
    ],
    ids=["search", "saved search"],
)
async def test_others_are_answered_while_expressions_are_parsed_those_of_a_caller_one_by_one(
    judged: World, monkeypatch: pytest.MonkeyPatch, method: str, path: str, sent: dict[str, Any]
) -> None:
    begun, answered, parse = threading.Semaphore(0), threading.Event(), TableQuestion.parse

    def slow(*arguments: Any, **named: Any) -> TableQuestion:
        begun.release()
        assert answered.wait(10), "nothing else was done meanwhile"
        return parse(*arguments, **named)

    monkeypatch.setattr(TableQuestion, "parse", slow)
    async with query(judged, query_open=True) as client:
        asking = [asyncio.create_task(client.request(method, path, **sent)) for _ in range(2)]
        assert await asyncio.to_thread(begun.acquire, timeout=10)
        for _ in range(10):
            assert (await client.get("/api/v1/caller")).status_code == 200
        assert not begun.acquire(blocking=False)
        answered.set()
        assert [each.status_code for each in await asyncio.gather(*asking)] == [200, 200]
