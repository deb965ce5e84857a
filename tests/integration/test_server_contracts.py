"""The servers obey the contracts that the doubles in tests/support obey."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from shotwatch_common.archive import Archive
from shotwatch_common.bus import Subscription
from tests.support.bus_contract import BusContract, Deliver
from tests.support.database_contract import DatabaseContract

from .conftest import Running, Url
from .test_bus import consuming

_numbers = count()


@pytest.fixture
async def collection(running: Running) -> AsyncIterator[Any]:
    url = running.settings.database_url.get_secret_value()
    async with Archive.at(url, "test_server_contracts") as archive:
        yield archive._database[f"collection-{next(_numbers)}"]


class TestDatabase(DatabaseContract):
    """The database obeys it."""


@pytest.fixture
def deliver(url: Url) -> Deliver:
    async def deliver(subscription: Subscription, body: bytes) -> str | None:
        outcomes: asyncio.Queue[str | None] = asyncio.Queue()

        async def handle(message: Any) -> None:
            await subscription.handle(message)
            outcomes.put_nowait(None)

        async def on_dead_letter(_stage: str, _body: bytes, reason: str) -> None:
            outcomes.put_nowait(reason)

        watched = replace(subscription, handle=handle)
        async with consuming(url, watched, on_dead_letter=on_dead_letter) as bus:
            await bus.send(subscription.stage, body)
            async with asyncio.timeout(40):
                return await outcomes.get()

    return deliver


class TestBus(BusContract):
    """The bus of the broker obeys it."""
