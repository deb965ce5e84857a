"""The health port answers whoever can reach it, and costs the service no more the more they ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shotwatch_common import health
from shotwatch_common.health import MOST_CONNECTIONS, serve_health
from tests.ports import free_port

ASKED = Counter("shotwatch_test_health_asked", "Questions in these tests.")


class Check:
    """A readiness check that counts its runs, and waits until it may end."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()

    async def ready(self) -> bool:
        self.runs += 1
        await self.may_end.wait()
        return True


@asynccontextmanager
async def served(check: Check) -> AsyncIterator[int]:
    port = free_port()
    settings: Any = SimpleNamespace(health_host="127.0.0.1", health_port=port, reuse_port=False)
    async with serve_health(settings, check.ready, lambda: {"model": "7"}):
        yield port


async def test_the_service_is_checked_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RECENT_S", 3600.0)
    check = Check()
    async with served(check) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        asking = [asyncio.create_task(client.get("/ready")) for _ in range(20)]
        while not check.runs:
            await asyncio.sleep(0)
        check.may_end.set()
        answers = [await each for each in asking]
        assert [await each.json() for each in answers] == 20 * [{"ready": True, "model": "7"}]
    assert check.runs == 1


async def test_the_service_is_checked_again_when_the_answer_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "RECENT_S", 0.0)
    check = Check()
    check.may_end.set()
    async with served(check) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        for runs in (1, 2, 3):
            assert (await client.get("/ready")).status == 200
            assert check.runs == runs


async def test_metrics_are_written_once_for_all_who_ask_and_with_exemplars_where_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "RECENT_S", 3600.0)
    ASKED.inc(1, {"trace_id": "abc"})
    async with served(Check()) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        text = await (await client.get("/metrics")).text()
        accepted = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        answer = await client.get("/metrics", headers=accepted)
        families = {each.name: each for each in text_string_to_metric_families(await answer.text())}
        ASKED.inc()
        assert await (await client.get("/metrics")).text() == text
    assert "shotwatch_test_health_asked_total 1.0" in text
    assert answer.content_type == "application/openmetrics-text"
    exemplars = [each.exemplar for each in families["shotwatch_test_health_asked"].samples if each.exemplar]
    assert exemplars[0].labels == {"trace_id": "abc"}


async def test_who_opens_many_connections_leaves_room_for_others_and_keeps_few() -> None:
    check = Check()
    async with served(check) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4 * MOST_CONNECTIONS)]
        for _, writer in opened:
            writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")  # and the check never ends
        assert await (await client.get("/live")).text() == "live"
        beyond = opened[: 3 * MOST_CONNECTIONS]
        assert await asyncio.gather(*(closed(reader) for reader, _ in beyond)) == [True] * len(beyond)
        for _, writer in opened:
            writer.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the service closes a connection without an answer."""
    try:
        async with asyncio.timeout(30):
            return await reader.read() == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
