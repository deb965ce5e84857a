"""query as a whole, on servers in memory: records, whatever stands in their blocks."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import numpy as np
import pyarrow as pa
import pytest

from shotwatch_common.block import Block
from shotwatch_common.blocks import read_block, write_block
from shotwatch_query.limits import memory
from tests.support.world import World

from .conftest import FLAWED, SHOTS, after
from .plays import inference, query


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """The shots are judged, and can be searched."""
    return await after(measured, inference)


async def ask(world: World, *paths: str) -> list[httpx.Response]:
    async with query(world, query_open=True) as client:
        return [await client.get(f"/api/v1/{path}") for path in paths]


def camera_and_block(world: World) -> tuple[str, str]:
    """A camera of the shots, and the key of its block."""
    stored = world.store.buckets["blocks"]
    blocks = {read_block(each.data).device: key for key, each in stored.items() if key.endswith(".arrow")}
    return next((device, key) for device, key in blocks.items() if "Camera" in device)


def changed(world: World, key: str, change: Callable[[Block], bytes]) -> None:
    """Replace a block."""
    blocks = world.store.buckets["blocks"]
    blocks[key] = replace(blocks[key], data=change(read_block(blocks[key].data)))


def larger(block: Block) -> bytes:
    frames = np.ones((len(block.time), 3000, 3000), np.uint16)
    return bytes(write_block(replace(block, arrays={"image": frames})))


def shorter(block: Block) -> bytes:
    arrays = {name: array[:1] for name, array in block.arrays.items()}
    first = Block(block.device, block.time[:1], block.state[:1], block.readable[:1], arrays)
    return bytes(write_block(first))


def compressed(block: Block) -> bytes:
    table = pa.ipc.open_file(write_block(block)).read_all()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (larger, "is larger than one of {camera} may be"),
        (shorter, "has 1 records, not the 2 that it had"),
        (compressed, "cannot be read: not a block: it is compressed"),
    ],
)
async def test_a_block_that_somebody_replaced_is_reported_and_takes_no_memory(
    judged: World, change: Callable[[Block], bytes], reason: str
) -> None:
    world = judged.fork()
    camera, key = camera_and_block(world)
    [before] = await ask(world, f"shots/{FLAWED}/devices/{camera}/row")
    assert (before.status_code, before.json()["row"]) == (200, 1)
    changed(world, key, change)
    image, row = await ask(world, *(f"shots/{FLAWED}/devices/{camera}/{what}" for what in ("image", "row")))
    for answer in (image, row):
        assert answer.status_code == 404
        assert reason.format(camera=camera) in answer.json()["detail"]


@pytest.mark.parametrize("change", [larger, shorter])
async def test_frames_of_another_shape_or_number_are_left_out(
    judged: World, change: Callable[[Block], bytes]
) -> None:
    world = judged.fork()
    camera, key = camera_and_block(world)
    [before] = await ask(world, f"devices/{camera}/maximum?shots=3")
    assert (before.status_code, before.headers["x-frames"]) == (200, "2")
    changed(world, key, change)
    [answer] = await ask(world, f"devices/{camera}/maximum?shots=3")
    assert (answer.status_code, "has no valid frame" in answer.json()["detail"]) == (404, True)


async def test_every_answer_about_a_record_is_made_in_reserved_memory(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SHARE_BYTES", 0)
    monkeypatch.setattr(memory, "MOST_WAITING_OF_CALLER", 0)
    camera, _ = camera_and_block(judged)
    about = f"shots/{SHOTS[0]}/devices/{camera}"
    paths = [f"shots/{SHOTS[0]}", *(f"{about}/{what}" for what in ("image", "residual", "spectrum", "row"))]
    answers = await ask(judged.fork(), *paths)
    assert [answer.status_code for answer in answers] == [429] * len(paths)


async def test_a_page_of_the_ledger_reserves_memory_for_the_longest_histories(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand objects of twenty steps with long names and explanations take 83 MiB."""
    monkeypatch.setattr(memory, "SHARE_BYTES", 83 * memory.MIB)
    monkeypatch.setattr(memory, "MOST_WAITING_OF_CALLER", 0)
    answers = await ask(judged.fork(), *(f"ledger/objects?limit={limit}" for limit in (100, 1000)))
    assert [answer.status_code for answer in answers] == [200, 429]
