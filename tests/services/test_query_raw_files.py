"""query as a whole, on servers in memory: raw files, sent as they arrived."""

from dataclasses import replace

import httpx
import pytest

from shotwatch_query.routes import raw_files
from tests.support.world import World

from .conftest import SHOTS, after
from .plays import inference, query


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """The shots are judged, and can be searched."""
    return await after(measured, inference)


async def ask(world: World, *paths: str) -> list[httpx.Response]:
    async with query(world, query_open=True) as client:
        return [await client.get(f"/api/v1/{path}") for path in paths]


async def content_path(world: World) -> tuple[str, str]:
    """The path of a raw file from which a shot was made, and the name of the file."""
    [shot] = await ask(world, f"shots/{SHOTS[0]}")
    member = shot.json()["members"][0]
    return f"ledger/objects/{member['object_id']}/content", member["raw_object"]


async def test_a_raw_file_comes_as_it_arrived(arrived: World, judged: World) -> None:
    world = judged.fork()
    path, name = await content_path(world)
    [answer] = await ask(world, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content == arrived.store.buckets["inbox"][name].data


async def test_what_is_no_raw_file_or_too_large_is_refused(
    arrived: World, judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = judged.fork()
    path, _ = await content_path(world)
    monkeypatch.setattr(raw_files, "MOST_BYTES", 1000)
    unknown, large = await ask(world, "ledger/objects/..%2F..%2Fetc%2Fpasswd/content", path)
    assert (unknown.status_code, large.status_code) == (404, 422)
    assert "1000 at most are sent" in large.json()["detail"]


async def test_a_file_outside_of_the_bucket_of_raw_files_is_not_sent(judged: World) -> None:
    """Such as one in the error bucket, or wherever a forged entry of the ledger points to."""
    world = judged.fork()
    path, _ = await content_path(world)
    raw = next(iter(world.store.buckets["data"].values()))
    for bucket in ("errors", "blocks"):
        for each in world.documents("objects"):
            each["location"] = {"bucket": bucket, "key": "secret"}
        world.store.buckets.setdefault(bucket, {})["secret"] = replace(raw, data=b"secret")
        [answer] = await ask(world, path)
        assert answer.status_code == 404
        assert b"secret" not in answer.content
