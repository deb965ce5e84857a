"""The block cache returns exactly the bytes that ingest wrote, or nothing, and stays within its size."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import REGISTRY

from shotwatch_common.block import Block
from shotwatch_common.block_cache import BlockCache
from shotwatch_common.blocks import read_block, write_block
from shotwatch_common.fetching import BlockGone, fetch_block, put_block
from shotwatch_common.settings import BrokerSettings, SettingsError
from shotwatch_common.store import ObjectStore
from shotwatch_shots.records import BlockRef
from tests.support.world import SERVERS, World

SIZE = 80_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def cache(folder: Path) -> Iterator[BlockCache]:
    opened = opened_in(folder)
    yield opened
    opened.close()


@pytest.fixture
def block() -> pa.Buffer:
    energies = {"energy1": np.ones(3), "energy2": np.ones(3)}
    return write_block(Block("d", np.arange(1, 4), ["ON"] * 3, np.ones(3, bool), energies))


def opened_in(folder: Path) -> BlockCache:
    given = {**SERVERS, "block_cache": str(folder), "block_cache_bytes": str(SIZE)}
    opened = BlockCache.of(BrokerSettings.load(**given))
    assert opened is not None
    return opened


def ref_of(data: bytes, key: str = "2022-07-01/o/d.arrow") -> BlockRef:
    return BlockRef(bucket="blocks", key=key, object_id="o", object_key="f.h5", crc32=crc32(data))


def keep(cache: BlockCache, data: bytes, key: str = "2022-07-01/o/d.arrow") -> BlockRef:
    ref = ref_of(data, key)
    cache.keep(ref, pa.py_buffer(data))
    return ref


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def outcomes(outcome: str) -> float:
    return REGISTRY.get_sample_value("shotwatch_block_cache_total", {"outcome": outcome}) or 0.0


def total(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_another_process_finds_what_was_kept(cache: BlockCache, folder: Path) -> None:
    ref = keep(cache, b"frames" * 100)
    assert opened_in(folder).find(ref) == b"frames" * 100
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_block_that_was_made_again_is_another_block(cache: BlockCache) -> None:
    first, second = keep(cache, b"first"), keep(cache, b"second")
    assert (cache.find(first), cache.find(second)) == (b"first", b"second")


def test_what_was_not_kept_is_not_found(cache: BlockCache) -> None:
    ref = keep(cache, b"frames")
    others = (
        ref_of(b"frames", key="other"),
        ref.model_copy(update={"bucket": "other"}),
        ref_of(b"others"),
        ref.model_copy(update={"crc32": None}),
    )
    assert [cache.find(other) for other in others] == [None] * 4


@pytest.mark.parametrize("damaged", [b"", b"frame", b"Frames", b"frames\0"])
def test_a_file_with_other_bytes_is_not_taken_for_the_block(
    cache: BlockCache, folder: Path, damaged: bytes
) -> None:
    ref, before = keep(cache, b"frames"), outcomes("unreadable")
    path = only_file(folder)
    path.write_bytes(damaged)
    assert cache.find(ref) is None
    assert outcomes("unreadable") == before + 1


def test_a_link_or_a_fifo_in_the_place_of_a_block_is_not_read(cache: BlockCache, folder: Path) -> None:
    ref = keep(cache, b"frames")
    path = only_file(folder)
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    assert cache.find(ref) is None
    path.unlink()
    os.mkfifo(path)
    assert cache.find(ref) is None


def test_the_oldest_blocks_make_room_and_the_folder_never_exceeds_its_size(
    cache: BlockCache, folder: Path
) -> None:
    refs = []
    for number in range(50):
        refs.append(keep(cache, os.urandom(SIZE // 10), key=str(number)))
        assert total(folder) <= SIZE
    there = [cache.find(ref) is not None for ref in refs]
    assert there == sorted(there)
    assert sum(there) >= 7


def test_blocks_of_all_sizes_take_the_places_of_others_and_are_found_as_they_were_kept(
    cache: BlockCache, folder: Path
) -> None:
    blocks = [os.urandom(1 + (number * 7919) % (SIZE // 8)) for number in range(100)]
    refs = []
    for number, data in enumerate(blocks):
        refs.append(keep(cache, data, key=str(number)))
        assert cache.find(refs[-1]) == data
        assert total(folder) <= SIZE
    for ref, data in zip(refs, blocks, strict=True):
        assert cache.find(ref) in (data, None)


def test_a_block_whose_place_is_taken_while_it_is_read_is_not_found(
    cache: BlockCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, before = keep(cache, b"frames" * 1000, key="read"), outcomes("unreadable")
    status = os.fstat

    def taken(descriptor: int) -> os.stat_result:
        monkeypatch.undo()
        for number in range(20):
            keep(cache, b"others" * 1000, key=str(number))
        return status(descriptor)

    monkeypatch.setattr("os.fstat", taken)
    assert cache.find(ref) is None
    assert outcomes("unreadable") == before + 1
    assert cache.find(ref) is None
    assert outcomes("unreadable") == before + 1, "by now it has no name"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/"), lambda path: path.mkdir()])
def test_what_is_no_file_in_the_folder_is_left_alone(
    cache: BlockCache, folder: Path, make: Callable[[Path], None]
) -> None:
    make(folder / "strange")
    kept = [cache.find(keep(cache, bytes(SIZE // 8), key=str(number))) for number in range(20)]
    assert kept == [bytes(SIZE // 8)] * 20


def test_threads_that_write_at_once_exceed_the_size_neither(cache: BlockCache, folder: Path) -> None:
    def write(name: str) -> None:
        for number in range(20):
            keep(cache, os.urandom(SIZE // 20), key=f"{name} {number}")

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert SIZE // 2 < total(folder) <= SIZE


def test_files_that_a_dead_writer_left_make_room_too(cache: BlockCache, folder: Path) -> None:
    (folder / "0123456789abcdef.new").write_bytes(bytes(SIZE))
    ref = keep(cache, b"frames")
    assert cache.find(ref) == b"frames"
    assert total(folder) <= SIZE


def test_a_block_that_would_displace_most_others_is_not_kept(cache: BlockCache, folder: Path) -> None:
    small = keep(cache, b"frames")
    assert cache.find(keep(cache, bytes(SIZE // 4), key="large")) is None
    assert cache.find(small) == b"frames"


def test_a_full_disk_leaves_no_file_and_raises_nothing(cache: BlockCache, folder: Path) -> None:
    before = outcomes("not_kept")
    with patch("os.write", side_effect=[3, OSError(28, "No space left on device")]):
        ref = keep(cache, b"frames")
    assert (cache.find(ref), list(folder.iterdir())) == (None, [])
    assert outcomes("not_kept") == before + 1


def test_a_folder_that_is_gone_raises_nothing(cache: BlockCache, folder: Path) -> None:
    ref = keep(cache, b"frames")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert cache.find(ref) is None
    assert cache.find(keep(cache, b"frames")) is None


def test_another_folder_in_its_place_is_not_used(cache: BlockCache, folder: Path) -> None:
    ref = keep(cache, b"frames")
    folder.rename(folder.parent / "moved")
    folder.mkdir()
    assert cache.find(ref) == b"frames"


@pytest.mark.parametrize("mode", [0o750, 0o707, 0o701])
def test_a_folder_to_which_others_have_rights_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(SettingsError, match="mode 0700"):
        opened_in(folder)


def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    with patch("os.geteuid", return_value=os.geteuid() + 1), pytest.raises(SettingsError, match="belong"):
        opened_in(folder)


def test_a_link_a_file_or_nothing_is_refused(folder: Path) -> None:
    link, file = folder.parent / "link", folder.parent / "file"
    link.symlink_to(folder)
    file.touch()
    for path in (link, file, folder.parent / "none"):
        with pytest.raises(SettingsError, match=str(path)):
            opened_in(path)


async def test_a_block_in_the_cache_is_read_without_the_store(cache: BlockCache, block: pa.Buffer) -> None:
    world = World()
    store = ObjectStore(world.store, cache)  # type: ignore[arg-type]
    unknown = ref_of(block.to_pybytes()).model_copy(update={"crc32": None})
    ref, _ = await put_block(store, unknown, read_block(block))
    assert ref == ref_of(block.to_pybytes())
    assert world.store.buckets["blocks"].pop(ref.key).data == block.to_pybytes()
    read = await fetch_block(store, ref)
    assert read.time.tolist() == [1, 2, 3]
    with pytest.raises(BlockGone):
        await fetch_block(store, unknown)


async def test_a_block_that_is_gone_as_soon_as_it_was_written_is_written_again_later(
    cache: BlockCache, block: pa.Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    stat = world.store.stat_object

    async def removed(bucket: str, key: str) -> object:
        del world.store.buckets[bucket][key]
        return await stat(bucket, key)

    monkeypatch.setattr(world.store, "stat_object", removed)
    store = ObjectStore(world.store, cache)  # type: ignore[arg-type]
    ref = ref_of(block.to_pybytes())
    with pytest.raises(BlockGone, match="gone since it was written"):
        await put_block(store, ref, read_block(block))
    assert cache.find(ref) is None, "the cache has no block that the store lacks"


async def test_a_block_that_is_not_in_the_cache_comes_from_the_store(
    cache: BlockCache, folder: Path, block: pa.Buffer
) -> None:
    store = ObjectStore(World().store, cache)  # type: ignore[arg-type]
    unknown = ref_of(block.to_pybytes()).model_copy(update={"crc32": None})
    ref, _ = await put_block(store, unknown, read_block(block))
    assert ref == ref_of(block.to_pybytes())
    file = only_file(folder)
    os.truncate(file, len(block) // 2)
    assert (await fetch_block(store, ref)).time.tolist() == [1, 2, 3]
    file.unlink()
    assert (await fetch_block(store, ref)).time.tolist() == [1, 2, 3]


async def test_a_file_larger_than_any_block_is_not_read(
    cache: BlockCache, monkeypatch: pytest.MonkeyPatch, block: pa.Buffer
) -> None:
    ref = ref_of(block.to_pybytes())
    cache.keep(ref, block)
    monkeypatch.setattr("shotwatch_common.block_cache.MAX_BLOCK_BYTES", len(block) - 1)
    assert cache.find(ref) is None
