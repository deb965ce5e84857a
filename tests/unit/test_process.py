"""How a service begins."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from shotwatch_common import process
from shotwatch_common.errors import Retry
from shotwatch_common.process import Service


class Bus:
    """Notes when it begins to consume."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def subscribe(self, _subscription: Any) -> None:
        raise AssertionError("nothing is subscribed to here")

    async def check_topology(self) -> None:
        self._happened.append("all is there")

    async def start(self) -> None:
        self._happened.append("consuming")

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None: ...


async def test_no_message_is_taken_before_what_it_takes_is_known_however_long_a_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def edges(_name: str, _settings: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(bus=Bus(happened), log=structlog.get_logger())

    async def look() -> None:
        happened.append("asked")
        if len(happened) < 4:
            raise Retry("the registry does not answer")

    async def end_at_once() -> None: ...

    async def assemble(_edges: Any, _resources: AsyncExitStack) -> Service:
        return Service(beforehand=(look,), background=(end_at_once,))

    monkeypatch.setattr(process, "edges", edges)
    monkeypatch.setattr(process, "_ASK_AGAIN_S", 0)
    settings: Any = SimpleNamespace(health_host="", health_port=0)
    try:
        await process._live("validate", settings, assemble)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert happened == ["all is there", "asked", "asked", "asked", "consuming"]
