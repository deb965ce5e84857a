"""Small parts of files are read from the store once."""

import asyncio
from typing import cast

from shotwatch_common.tables.part_reader import SMALL_BYTES, PartReader
from shotwatch_common.tables.table_store import TableStore
from shotwatch_tables.manifest import TableFile

FILE = TableFile(key="hour-07.parquet", start=0, rows=1, size=100_000, first=0, last=0)
OTHER = FILE.model_copy(update={"key": "hour-08.parquet"})


class CountedStore:
    """A store that records what it is asked for, and answers with it."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def part(self, file: TableFile, offset: int, length: int) -> bytes:
        self.asked.append(f"{file.key} {offset} {length}".encode())
        return self.asked[-1]


async def test_a_small_part_is_requested_once_for_each_file_and_place() -> None:
    store = CountedStore()
    reader = PartReader(cast(TableStore, store), asyncio.get_running_loop())
    parts = [(FILE, 0, 200), (FILE, 0, 300), (FILE, 5, 200), (OTHER, 0, 200), (FILE, 0, SMALL_BYTES)]
    expected = [f"{file.key} {offset} {length}".encode() for file, offset, length in parts]
    for _ in range(3):
        assert [await asyncio.to_thread(reader.read, *part) for part in parts] == expected
    assert store.asked == expected


async def test_a_large_part_is_not_kept_and_a_small_one_can_be_forgotten() -> None:
    store = CountedStore()
    reader = PartReader(cast(TableStore, store), asyncio.get_running_loop())
    for _ in range(2):
        await asyncio.to_thread(reader.read, FILE, 0, SMALL_BYTES + 1)
    assert len(store.asked) == 2
    for _ in range(2):
        await asyncio.to_thread(reader.read, FILE, 0, 1)
        reader.forget()
    assert len(store.asked) == 4
