"""The pieces of a file have the columns that other readers find in it, and are read without the rest."""

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from shotwatch_common.tables.stored_columns import stored_columns
from shotwatch_tables import parts
from shotwatch_tables.manifest import TableFile
from shotwatch_tables.parts import row_groups
from shotwatch_tables.pieces import read_pieces, write_pieces

ROWS = 5_000
DEVICES = ("A", "B", "C")


def table_of(rows: int = ROWS, devices: Sequence[str] = DEVICES) -> pa.Table:
    random = np.random.default_rng(1)
    times = 1_656_660_780_000_000_000 + 100_000_000 * np.arange(rows)
    columns: dict[str, pa.Array] = {
        "shot": pa.array([f"shot-{n}" for n in range(rows)]),
        "time": pa.array(times, pa.timestamp("ns", "UTC")),
        "interval": pa.array(["100ms"] * rows).dictionary_encode(),
        "kinds": pa.array([["hot_spot"] if n % 7 == 0 else [] for n in range(rows)], pa.list_(pa.string())),
    }
    for device in devices:
        columns[f"{device}.verdict"] = pa.array(["valid"] * rows).dictionary_encode()
        for feature in ("energy", "width"):
            values = random.normal(100, 1, rows).astype(np.float32)
            columns[f"{device}.{feature}"] = pa.array(values, mask=random.random(rows) < 0.1)
    return pa.table(columns)


class Stored:
    """A file in a store that records which parts are asked for."""

    def __init__(self, table: pa.Table) -> None:
        written = write_pieces(table)
        self.content = written.content.to_pybytes()
        self.asked: list[tuple[int, int]] = []
        self.file = TableFile(
            key="hour-07.parquet",
            start=0,
            rows=len(table),
            size=len(self.content),
            first=0,
            last=0,
            pieces_at=written.pieces_at,
            pieces_size=written.pieces_size,
        )

    def fetch(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        return self.content[offset : offset + length]

    @property
    def bytes_asked(self) -> int:
        return sum(length for _, length in self.asked)

    def read(self, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
        stored = stored_columns(self.file, schema, self.fetch)
        groups = row_groups(stored, pc.scalar(True), ["time"], lambda _: ["time"])
        return pa.concat_tables([group.read(columns) for group in groups])


def test_other_readers_find_the_table_and_not_the_pieces() -> None:
    table = table_of()
    content = Stored(table).content
    assert pq.read_table(io.BytesIO(content)).equals(table)
    by_polars = pl.read_parquet(content)
    assert by_polars.columns == table.column_names
    assert by_polars["B.energy"].to_arrow().equals(table["B.energy"].combine_chunks())


@pytest.mark.parametrize(
    "columns", [["time", "shot"], ["B.energy"], ["C.width", "time", "A.verdict"], ["kinds", "B.width"]]
)
def test_columns_are_read_by_pieces_as_they_were_written(columns: list[str]) -> None:
    table = table_of()
    stored = Stored(table)
    assert stored.file.pieces_size
    assert (stored.read(table.schema, columns)).equals(table.select(columns))


def test_only_the_values_of_columns_that_are_read_are_fetched() -> None:
    table = table_of(devices=[f"D{n}" for n in range(60)])
    stored = Stored(table)
    stored.read(table.schema, ["D7.energy"])
    energy = pq.ParquetFile(io.BytesIO(stored.content)).metadata.row_group(0).column(5 + 3 * 7)
    assert energy.path_in_schema == "D7.energy"
    assert stored.bytes_asked < stored.file.pieces_size + energy.total_compressed_size + 2_000
    whole = pq.ParquetFile(io.BytesIO(stored.content)).metadata.serialized_size
    assert stored.file.pieces_size < whole


def test_a_file_of_an_earlier_version_is_read_by_its_own_description() -> None:
    table = table_of()
    stored = Stored(table)
    stored.file = stored.file.model_copy(update={"pieces_at": 0, "pieces_size": 0})
    assert (stored.read(table.schema, ["time", "B.energy"])).equals(table.select(["time", "B.energy"]))


@pytest.mark.parametrize(
    "order",
    [["time", "A.energy", "interval", "shot", "B.energy"], ["time", "A.energy", "B.energy", "A.width"]],
)
def test_a_device_whose_columns_are_apart_is_read_all_the_same(order: list[str]) -> None:
    """They are, after a device has left the facility file and returned to it."""
    table = table_of().select(order)
    assert (Stored(table).read(table.schema, order)).equals(table)


def test_a_file_with_several_row_groups_is_read_all_the_same() -> None:
    table = table_of(70_000, ["A"])
    stored = Stored(table)
    assert stored.file.pieces_size == 0
    assert (stored.read(table.schema, ["time", "A.energy"])).equals(table.select(["time", "A.energy"]))


def test_a_device_and_a_feature_that_the_file_lacks_are_missing() -> None:
    table = table_of(devices=["A"])
    schema = table.schema.append(pa.field("A.new", pa.float32())).append(pa.field("Z.energy", pa.float32()))
    found = Stored(table).read(schema, ["A.new", "Z.energy", "A.energy"])
    assert found["A.new"].null_count == found["Z.energy"].null_count == ROWS
    assert found["A.energy"].equals(table["A.energy"])


@pytest.mark.parametrize("damaged", [b"", b"nothing", b"\xff\xff\xff\xff\x00\x00\x00\x00"])
def test_what_is_no_description_of_pieces_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="not the description of pieces"):
        read_pieces(damaged)


def test_a_small_description_that_would_be_unpacked_to_an_enormous_one_is_refused() -> None:
    enormous = pa.compress(b"x" * 9_000_000, codec="zstd", asbytes=True)
    assert len(enormous) < 10_000
    with pytest.raises(ValueError, match="9,000,000 bytes"):
        read_pieces((9_000_000).to_bytes(4, "little") + enormous)
    with pytest.raises(ValueError, match="not the description of pieces"):
        read_pieces((1_000).to_bytes(4, "little") + enormous)


LONG = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["x" * 40_000]))
MANY = pa.array([["x"] * 300] * ROWS, pa.list_(pa.string()))
FIXED = pa.array([b"x" * 40_000] * ROWS, pa.binary(40_000)).dictionary_encode()


@pytest.mark.parametrize(
    ("column", "why"),
    [(LONG, "200,000,000"), (MANY, "elements"), (FIXED, "a type")],
    ids=["texts", "list", "fixed"],
)
@pytest.mark.parametrize("with_pieces", [True, False])
def test_a_small_file_whose_columns_are_large_in_memory_is_refused(
    column: pa.Array, why: str, with_pieces: bool
) -> None:
    table = table_of().append_column("C.text", column)
    stored = Stored(table)
    assert stored.file.pieces_size
    if not with_pieces:
        stored.file = stored.file.model_copy(update={"pieces_at": 0, "pieces_size": 0})
    assert stored.file.size < 2_000_000
    with pytest.raises(ValueError, match=why):
        stored.read(table.schema, ["time", "C.text"])


def test_a_read_is_bounded_over_all_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of()
    one, all_three = ["A.energy"], [f"{device}.energy" for device in DEVICES]
    monkeypatch.setattr(parts, "MOST_BYTES", 45_000)
    assert (Stored(table).read(table.schema, one)).num_rows == ROWS
    with pytest.raises(ValueError, match="more than 45,000 bytes"):
        Stored(table).read(table.schema, all_three)


def test_another_number_of_rows_than_the_manifest_states_is_refused() -> None:
    table = table_of()
    stored = Stored(table)
    stored.file = stored.file.model_copy(update={"rows": 7})
    with pytest.raises(ValueError, match="5,000 rows, not 7"):
        stored.read(table.schema, ["B.energy"])


def test_a_piece_of_another_file_is_refused() -> None:
    table = table_of()
    stored, shorter = Stored(table), Stored(table_of(4_000))
    at, size = shorter.file.pieces_at, shorter.file.pieces_size
    stored.content += shorter.content[at : at + size]
    forged = {"pieces_at": stored.file.size, "pieces_size": size, "size": len(stored.content)}
    stored.file = stored.file.model_copy(update=forged)
    with pytest.raises(ValueError, match="4,000 rows, not 5,000"):
        stored.read(table.schema, ["B.energy"])
    stored.file = stored.file.model_copy(update={"size": 1_000})
    with pytest.raises(ValueError, match="outside"):
        stored.read(table.schema, ["B.energy"])


def test_equal_tables_have_equal_files() -> None:
    assert Stored(table_of()).content == Stored(table_of()).content
