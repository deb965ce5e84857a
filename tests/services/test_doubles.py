"""The servers in memory obey the contracts that tests/integration asks of the real ones."""

from typing import Any
from unittest.mock import patch

import pytest

from shotwatch_common.archive.driver import Database
from shotwatch_common.bus import Subscription
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_training import registry as registry_module
from shotwatch_training.registry import Registry
from tests.support.bus import Broker, BusInMemory
from tests.support.bus_contract import BusContract, Deliver
from tests.support.database import DatabaseClient
from tests.support.database_contract import DatabaseContract
from tests.support.effects import Died, Effects, Fault
from tests.support.mlflow_client import MlflowClientInMemory
from tests.support.objects import StoreClient
from tests.support.registry import Registered, RegistryInMemory
from tests.support.registry_contract import RegistryContract
from tests.support.store_contract import StoreContract, new_bucket


@pytest.fixture
def store() -> ObjectStore:
    client: Any = StoreClient()
    return ObjectStore(client)


@pytest.fixture
async def bucket(store: ObjectStore) -> str:
    return await new_bucket(store)


class TestStore(StoreContract):
    """The store in memory obeys it."""


@pytest.fixture
def collection() -> Any:
    return Database(DatabaseClient()["shotwatch"])["any"]


class TestDatabase(DatabaseContract):
    """The database in memory obeys it."""


@pytest.fixture
def deliver() -> Deliver:
    async def deliver(subscription: Subscription, body: bytes) -> str | None:
        reported: list[str] = []

        async def on_dead_letter(_stage: str, _body: bytes, reason: str) -> None:
            reported.append(reason)

        bus = BusInMemory(Broker(), Effects(), on_dead_letter, servers_answer)
        bus.subscribe(subscription)
        await bus.send(subscription.stage, body)
        while await bus.deliver():
            pass
        return reported[0] if reported else None

    return deliver


class TestBus(BusContract):
    """The bus in memory obeys it."""


@pytest.fixture
def registered() -> Registered:
    return Registered()


@pytest.fixture
def training(registered: Registered) -> Registry:
    with patch.object(registry_module, "MlflowClient", lambda **_: MlflowClientInMemory(registered)):
        return Registry("http://memory", "shotwatch")


@pytest.fixture
def registry(registered: Registered) -> ModelRegistry:
    return RegistryInMemory(registered)


class TestRegistry(RegistryContract):
    """The model registry in memory obeys it."""


async def servers_answer() -> bool:
    return True


@pytest.mark.parametrize(("fault", "there"), [(Fault.DIED, 1), (Fault.REFUSED, 1), (Fault.UNANSWERED, 0)])
async def test_a_message_that_is_not_acknowledged_is_still_in_its_queue(fault: Fault, there: int) -> None:
    async def handle(_body: bytes) -> None: ...

    async def on_dead_letter(_stage: str, _body: bytes, _reason: str) -> None: ...

    broker, effects = Broker(), Effects(fault=fault, at=1)
    bus = BusInMemory(broker, effects, on_dead_letter, servers_answer)
    bus.subscribe(Subscription("shadow", None, handle, 1))
    await bus.send("shadow", b"body")
    if fault is Fault.DIED:
        with pytest.raises(Died):
            await bus.deliver()
    else:
        await bus.deliver()
    assert len(broker.queues["shadow"]) == there
