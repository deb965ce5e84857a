"""Search by value on real servers: REST, the command line and the Python client find the same shots."""

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner, Result

import shotwatch_client
from shotwatch_cli.main import app
from shotwatch_client import InvalidArgument, NoData, NotAccepted, ShotwatchClient
from shotwatch_common.tables.archived import ArchivedShots
from shotwatch_common.tables.table_store import TableStore
from shotwatch_shots.pulses import instant
from shotwatch_tables.manifest import DayManifest, TableFile, day_start, file_key, hour_start
from shotwatch_tables.pieces import write_pieces
from shotwatch_tables.schema import ShotTableSchema
from tests.unit.api import FACILITY

from .query_world import (
    ANOMALOUS,
    CAMERA,
    ENERGIES_FROM,
    FIRST_PULSE,
    HOUR,
    LA,
    LB,
    METER,
    MISSING,
    SHOTS,
    World,
    shot,
)

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "search.md"
PLACE = str(LA.place)
FROM, TO = instant(FIRST_PULSE), instant(FIRST_PULSE + 100 * SHOTS)
SPAN = {"place": PLACE, "from": FROM.isoformat(), "to": TO.isoformat()}
CENTROID = f"{CAMERA.replace('-', '_')}.centroid_x"
ON = f"{METER.replace('-', '_')}.verdict"
ALL = [shot(n) for n in range(SHOTS)]


@pytest.fixture
def client(world: World) -> Iterator[ShotwatchClient]:
    url = str(world.api.base_url).removesuffix("/api/v1/")
    with shotwatch_client.connect(url, world.environment["SHOTWATCH_API_KEY"]) as client:
        yield client


def run(world: World, *arguments: str) -> Result:
    """Run `shotwatch search` against the API of the world."""
    url = str(world.api.base_url).removesuffix("/api/v1/")
    environment = {**world.environment, "SHOTWATCH_QUERY_URL": url, "COLUMNS": "250"}
    return CliRunner().invoke(app, ["search", *arguments], env=environment)


def found(world: World, **asked: Any) -> dict[str, list[Any]]:
    document = world.get("tables/shots", **{**SPAN, **asked})
    return {each["name"]: each["values"] for each in document["columns"]}


def test_where_finds_the_shots_that_have_the_value(world: World) -> None:
    assert found(world, where="score > 5")["shot"] == [shot(ANOMALOUS)]
    assert found(world, where="'hot_spot' in kinds and severity = 'critical'")["shot"] == [shot(ANOMALOUS)]
    assert found(world, where=f"{ON} = 'missing'")["shot"] == [shot(MISSING)]
    assert found(world, where="score is missing")["shot"] == [shot(0)]
    assert found(world, where=f"{CENTROID} between 63 and 64 and not score > 5")["shot"] == [
        each for n, each in enumerate(ALL) if n not in (0, ANOMALOUS)
    ]


async def test_a_closed_hour_comes_from_its_file_and_the_rest_from_the_database(world: World) -> None:
    """The file's score of each shot differs from the database's, so that one sees where a row is from."""
    schema, hour = ShotTableSchema.of(FACILITY, LB.place), hour_start(FIRST_PULSE)
    async with world.archive() as archive, world.store() as store:
        made = ArchivedShots(archive).tables(schema, hour, hour + HOUR)
        table = pa.concat_tables([each async for each in made])
        assert len(table) == SHOTS
        scores = pa.array(np.arange(len(table), dtype=float))
        changed = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), scores)
        written, tables = write_pieces(changed), TableStore(store, "tables")
        file = TableFile(
            key=file_key(LB.place, hour, written.content),
            start=hour,
            rows=SHOTS,
            size=written.content.size,
            first=FIRST_PULSE,
            last=FIRST_PULSE + 1900,
            pieces_at=written.pieces_at,
            pieces_size=written.pieces_size,
        )
        assert file.pieces_size
        await tables.put_file(file.key, written.content)
        await tables.put_manifest(DayManifest(place=LB.place, day=day_start(hour)).with_file(file))
        try:
            asked = await asyncio.to_thread(found, world, place=str(LB.place), where="score > 16")
            assert asked["shot"] == [shot(n, LB) for n in (17, 18, 19)]
            assert asked["score"] == [17, 18, 19]
            wide = {"from": instant(hour - 3 * HOUR).isoformat(), "to": instant(hour + 3 * HOUR).isoformat()}
            everything = await asyncio.to_thread(found, world, place=str(LB.place), **wide)
            assert everything["shot"] == [shot(n, LB) for n in range(SHOTS)]
        finally:
            await tables.remove_manifest(LB.place, day_start(hour))
    assert (await asyncio.to_thread(found, world, place=str(LB.place)))["score"] == [None] * SHOTS


def test_several_places_are_one_table_for_rest_command_line_and_client(
    world: World, client: ShotwatchClient
) -> None:
    places, where = [str(LA.place), str(LB.place)], "complete or not complete"
    expected = found(world, place=places, where=where)
    assert expected["place"] == [place for place in places for _ in range(SHOTS)]
    assert expected["shot"] == ALL + [shot(n, LB) for n in range(SHOTS)]
    shots = client.table(places).shots(FROM, TO, where=where)
    assert shots["place"].tolist() == expected["place"]
    assert shots["shot"].tolist() == expected["shot"]
    counts = client.table(places).aggregates("count", FROM, TO)
    assert counts["place"].tolist() == places
    assert counts["count"].tolist() == [SHOTS, SHOTS]
    span = ("--from", FROM.isoformat(), "--to", TO.isoformat())
    result = run(world, ",".join(places), where, *span, "--json", "--limit", "100")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["shot"] for line in result.stdout.splitlines()] == expected["shot"]


def test_a_saved_search_is_the_same_for_rest_command_line_and_client(
    world: World, client: ShotwatchClient
) -> None:
    span = ("--from", FROM.isoformat(), "--to", TO.isoformat(), "--json")
    saved = run(world, PLACE, "score > 5", "--save", "by hand", *span)
    assert saved.exit_code == 0, saved.stderr
    again = run(world, "@by hand", *span)
    assert [json.loads(line)["shot"] for line in again.stdout.splitlines()] == [shot(ANOMALOUS)]
    assert client.searches.shots("by hand", FROM, TO)["shot"].tolist() == [shot(ANOMALOUS)]
    client.searches.save("all", [str(LA.place), str(LB.place)], columns=["score"])
    assert client.searches.list()["name"].tolist() == ["all", "by hand"]
    assert len(client.searches.shots("all", FROM, TO)) == 2 * SHOTS
    with pytest.raises(NotAccepted, match="did you mean score"):
        client.searches.save("wrong", PLACE, "scor > 5")
    for name in ("all", "by hand"):
        client.searches.remove(name)
    assert client.searches.list().empty
    with pytest.raises(NoData):
        client.searches.get("all")


def test_nobody_sees_the_searches_of_another(world: World) -> None:
    one, other = (world.let_in(name, "read,label") for name in ("searcher", "another-searcher"))
    path = "tables/searches/mine"
    put = world.api.put(path, json={"place": [PLACE], "where": "score > 5"}, headers=one)
    assert put.status_code == 200, put.text
    assert world.api.get(path, headers=one).json()["search"]["where"] == "score > 5"
    assert world.api.get(path, headers=other).status_code == 404
    assert world.api.delete(path, headers=other).status_code == 204
    assert [each["name"] for each in world.api.get("tables/searches", headers=one).json()["searches"]] == [
        "mine"
    ]


def test_the_client_returns_the_same_table(world: World, client: ShotwatchClient) -> None:
    expected = found(world, columns=[CENTROID, "complete", "kinds"], derive=f"x = {CENTROID} / 2")
    shots = client.shots(
        PLACE, FROM, TO, columns=[CENTROID, "complete", "kinds"], derive=[f"x = {CENTROID} / 2"]
    )
    assert list(shots.columns) == list(expected)
    assert shots["shot"].tolist() == ALL
    assert shots["time"].tolist() == [
        pd.Timestamp(FIRST_PULSE + 100 * n, unit="ms", tz="UTC") for n in range(SHOTS)
    ]
    assert str(shots["time"].dtype) == "datetime64[ms, UTC]"
    np.testing.assert_allclose(shots["x"], np.array(expected[CENTROID], float) / 2)
    assert shots["complete"].tolist() == expected["complete"]
    assert shots["kinds"].tolist() == [tuple(each) for each in expected["kinds"]]
    assert shots.attrs["units"] == {CENTROID: "px"}


def test_the_client_follows_the_pages(client: ShotwatchClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotwatch_client.shot_tables.ROWS_OF_PAGE", 7)
    assert client.shots(PLACE, FROM, TO, where="true")["shot"].tolist() == ALL
    assert len(client.shots(PLACE, FROM, TO, where="false")) == 0


def test_the_client_aggregates_and_lists_columns(client: ShotwatchClient) -> None:
    table = client.table(PLACE)
    columns = table.columns().set_index("column")
    assert columns.loc[CENTROID, "unit"] == "px"
    counted = table.aggregates(["count", "max(score)", f"mean({CENTROID})"], FROM, TO, every="minute")
    assert counted.index.tolist() == [pd.Timestamp("2022-07-01T07:33:00Z")]
    assert counted.iloc[0].tolist() == [SHOTS, 9.5, 63.5]
    none = table.aggregates("count", instant(ENERGIES_FROM - HOUR), instant(ENERGIES_FROM))
    assert len(none) == 0


def test_errors_of_the_client_show_what_is_wrong(client: ShotwatchClient) -> None:
    with pytest.raises(NotAccepted, match=r"did you mean score\?\n *scor > 1\n *\^\^\^\^"):
        client.shots(PLACE, FROM, TO, where="scor > 1")
    with pytest.raises(NoData):
        client.shots("LZ", FROM, TO, where="true")
    with pytest.raises(NotAccepted, match="shorter span"):
        client.shots(
            PLACE, "2022-01-01T00:00:00Z", "2022-12-31T00:00:00Z", where="rolling_mean(score, 50) > 1"
        )
    for wrong in ({"kind": "energy"}, {"newest": 3}, {"min_score": 1}, {"complete": True}):
        with pytest.raises(InvalidArgument):
            client.shots(PLACE, FROM, TO, where="true", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="place"):
        client.shots(start=FROM, end=TO, where="true")


def test_the_command_line_prints_and_writes_the_shots(world: World, tmp_path: Path) -> None:
    span = "--from", SPAN["from"], "--to", SPAN["to"]
    shown = run(world, PLACE, "score > 5", *span)
    assert shown.exit_code == 0, shown.output
    assert shot(ANOMALOUS) in shown.output
    assert shot(ANOMALOUS + 1) not in shown.output
    lines = run(world, PLACE, *span, "--column", CENTROID, "--limit", "3", "--json").output.splitlines()
    assert [json.loads(line)["shot"] for line in lines] == ALL[:3]
    assert json.loads(lines[0])[CENTROID] == 63.5
    for name in ("all.csv", "all.parquet"):
        written = run(world, PLACE, *span, "--column", CENTROID, "--out", str(tmp_path / name))
        assert f"{SHOTS} rows" in written.output
    assert pq.read_table(tmp_path / "all.parquet")["shot"].to_pylist() == ALL
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [row["shot"] for row in csv.DictReader(file)] == ALL


def test_errors_of_the_command_line_show_what_is_wrong(world: World, tmp_path: Path) -> None:
    wrong = run(world, PLACE, "score > 1 and scor < 2")
    assert wrong.exit_code == 1
    assert "score > 1 and scor < 2\n              ^^^^" in wrong.output
    assert run(world, PLACE, "--out", str(tmp_path / "x.xlsx")).exit_code == 2


def test_the_examples_of_the_guide_are_accepted(world: World) -> None:
    blocks = MarkdownIt().parse(GUIDE.read_text(encoding="utf-8"))
    (examples,) = (each.content for each in blocks if each.type == "fence" and each.info == "expression")
    asked = ["derive" if re.match("[a-z]+ = ", line) else "where" for line in examples.splitlines()]
    assert (asked.count("where"), asked.count("derive")) == (6, 2)
    for parameter, line in zip(asked, examples.splitlines(), strict=True):
        found(world, **{parameter: line})
