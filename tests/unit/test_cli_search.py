"""`shotwatch search --out`: what the server sends is checked before it is written."""

import io
import struct
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shotwatch_cli.commands.search import _WRITERS
from shotwatch_cli.failures import Failure

TABLE = pa.table({"shot": pa.array(["abc", "defgh"])})


def stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


def test_a_page_becomes_rows_of_a_file(tmp_path: Path):
    with ExitStack() as opened:
        add = _WRITERS[".parquet"][1](tmp_path / "x.parquet", opened)
        assert add(stream()) + add(stream()) == 4
    assert pq.read_table(tmp_path / "x.parquet")["shot"].to_pylist() == ["abc", "defgh"] * 2


def test_a_page_that_is_no_arrow_stream_or_reaches_outside_of_it_is_reported(tmp_path: Path):
    outside = stream().replace(struct.pack("<3i", 0, 3, 8), struct.pack("<3i", 0, 3, 2**30))
    assert outside != stream()
    for page in (b"", b"{}", outside):
        with ExitStack() as opened, pytest.raises(Failure, match="Arrow"):
            _WRITERS[".parquet"][1](tmp_path / "x.parquet", opened)(page)
    assert not (tmp_path / "x.parquet").exists()
