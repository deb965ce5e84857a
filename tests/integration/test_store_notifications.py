"""The path behind a store that announces new objects itself, configured as docker-compose.yml does.

The sweep lists the inbox here as often as without notifications, and leaves each object to its own
for an hour: what is judged was announced. Each service has its own account of the store.
"""

import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from shotwatch_cli.deployment import settings_as, settings_of
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import variable
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.servers.probes import opens_channel
from shotwatch_embedded.services import ServiceSpec, path_services
from shotwatch_embedded.stack import Stack
from shotwatch_operations.store.setup import ConfigurableStore, PartState, SetupSettings, set_up
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.simulation import simulate
from tests.facilities import FACILITY
from tests.ports import PORTS

from .conftest import FOREVER_MS, Running, impatient, until
from .processes import serving
from .store_servers import KEYS, minio, notification
from .test_path import shots_of, simulation
from .test_store_accounts import SECRETS, written

pytestmark = pytest.mark.minio

NOTIFIED = {"ingest": {"SHOTWATCH_INBOX_NOTIFICATION_SECONDS": "3600"}}
SECONDS = timedelta(seconds=3)
NINE = datetime(2022, 7, 2, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
async def notified(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A stack whose store announces new objects."""
    root = tmp_path_factory.mktemp("notified")
    server = minio(root / "store", *KEYS, PORTS)
    async with Stack.claim(root, "notified", facility=FACILITY, settings=server.settings) as stack:
        environment = stack.environment()
        async with serving(notification(server, stack.environment("store")["SHOTWATCH_BROKER_URL"])):
            await set_up_store(environment)
            path = (spec for spec in path_services() if spec.name != "query")
            stack.start_services(map(impatient, map(notified_first, map(with_account, path))))
            await stack.services_ready()
            settings = settings_of(environment)
            async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
                yield Running(stack, settings, load_facility(FACILITY), store, archive)


def notified_first(service: ServiceSpec) -> ServiceSpec:
    """The service; if it is ingest, it leaves objects to the store's notifications."""
    return replace(service, environment={**service.environment, **NOTIFIED.get(service.name, {})})


def with_account(service: ServiceSpec) -> ServiceSpec:
    """The service with its own keys of the store."""
    keys = {
        "SHOTWATCH_STORE_ACCESS_KEY": f"shotwatch-{service.name}",
        "SHOTWATCH_STORE_SECRET_KEY": SECRETS[service.name],
    }
    return replace(service, environment={**service.environment, **keys})


async def set_up_store(environment: Mapping[str, str], **changed: str) -> None:
    with written({**SECRETS, **changed}) as folder:
        settings = settings_as(SetupSettings, {**environment, variable("accounts_folder"): folder})
        async with ConfigurableStore.of(settings) as store:
            found = {part.state async for part in set_up(store, settings)}
    assert found <= {PartState.THERE, PartState.MADE}


async def test_an_object_is_judged_because_the_store_announced_it(notified: Running, tmp_path: Path) -> None:
    first = simulation(notified, datetime(2022, 7, 2, 8, tzinfo=UTC), duration=SECONDS)
    files = list(simulate(first, tmp_path))
    await notified.upload(*files)
    await notified.judged()
    assert len(await shots_of(notified.archive, first)) == 3
    assert await ingested(notified) == len(files)
    assert await swept(notified) == 0, "fed in twice: by the store's event and by the sweep"


async def test_an_expired_block_is_made_again_when_its_file_is_put_into_the_inbox_again(
    notified: Running, tmp_path: Path
) -> None:
    store, blocks = notified.store, notified.settings.block_bucket
    files = list(simulate(simulation(notified, NINE, duration=SECONDS), tmp_path))
    await notified.upload(*files)
    await notified.judged()
    there = {found.key: found.etag async for found in store.list(blocks)}
    for key in there:
        await store.remove(blocks, key)
    await notified.upload(*files)
    await notified.judged()
    again = {found.key: found.etag async for found in store.list(blocks)}
    assert again
    assert again.items() <= there.items()


async def test_unusual_keys_arrive_as_they_are(notified: Running) -> None:
    keys = {"a b+c.txt", "100 %.txt", "é/日本&?=#.txt"}
    for key in keys:
        await notified.store.put(notified.settings.inbox_bucket, key, b"no snapshot")
    await notified.judged()
    today = f"{datetime.now(UTC):%Y-%m-%d}/ignored/"
    set_aside = {found.key async for found in notified.store.list(notified.settings.data_bucket, today)}
    etag = hashlib.md5(b"no snapshot").hexdigest()
    assert set_aside == {f"{today}{key.removesuffix('.txt')}@{etag}.txt" for key in keys}


async def test_what_is_put_while_the_broker_is_down_is_announced_when_it_is_back(
    notified: Running, tmp_path: Path
) -> None:
    before = await ingested(notified)
    minute = simulation(notified, datetime(2022, 7, 2, 10, tzinfo=UTC), duration=SECONDS)
    files = list(simulate(minute, tmp_path))
    url = notified.settings.broker_url.get_secret_value()
    stop_broker(notified)
    await until(lambda: _refuses(url), "a broker that is down")
    await notified.upload(*files)
    assert await _refuses(url), "the broker was back too early for this test to mean anything"
    await until(lambda: opens_channel(url), "a broker that is back")
    await until(lambda: _all_ingested(notified, before + len(files)), "ingested")
    await notified.judged()
    assert len(await shots_of(notified.archive, minute)) == 3


def stop_broker(notified: Running) -> None:
    """Ended in good order; its keeper starts it again."""
    [broker] = [status for status in notified.stack.status() if status.name == "broker"]
    assert broker.pid is not None
    os.killpg(broker.pid, signal.SIGTERM)


async def ingested(running: Running) -> int:
    states: Mapping[str, int] = (await running.archive.ledger.tally(0, FOREVER_MS)).states
    return states[ObjectState.INGESTED]


async def swept(running: Running) -> float:
    """How many objects the sweep fed in, of those that it saw in the inbox."""
    [port] = [status.port for status in running.stack.status() if status.name == "ingest-1"]
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"http://{LOOPBACK}:{port}/metrics")).text
    metrics = dict(re.findall(r"^(shotwatch_sweep_\w+) (\S+)$", page, re.MULTILINE))
    assert float(metrics["shotwatch_sweep_last_success_timestamp_seconds"]) > 0, "it never swept"
    return float(metrics["shotwatch_sweep_found_total"])


async def _all_ingested(running: Running, count: int) -> bool:
    return await ingested(running) == count


async def _refuses(url: str) -> bool:
    return not await opens_channel(url)


async def test_a_key_that_is_replaced_before_its_service_has_the_new_one_costs_no_file(
    notified: Running, tmp_path: Path
) -> None:
    """Ingest holds the messages; as soon as its key is right again it goes on, and nothing is given up."""
    before = await ingested(notified)
    minute = simulation(notified, datetime(2022, 7, 2, 12, tzinfo=UTC), duration=SECONDS)
    files = list(simulate(minute, tmp_path))
    await set_up_store(notified.stack.environment(), ingest="the next secret key")
    await notified.upload(*files)
    await until(lambda: _reports(notified, "ingest", "SignatureDoesNotMatch"), "held by ingest")
    assert await ingested(notified) == before
    await set_up_store(notified.stack.environment())
    await until(lambda: _all_ingested(notified, before + len(files)), "ingested")
    await notified.judged()
    assert len(await shots_of(notified.archive, minute)) == 3


async def _reports(running: Running, service: str, text: str) -> bool:
    logs = (running.stack.folder / "logs").glob(f"{service}*")
    return any("held: a server" in line and text in line for log in logs for line in _lines(log))


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


async def test_no_service_was_refused_anything_by_the_store(notified: Running) -> None:
    """Nor was any file given up: each has what it needs for all that happened here."""
    await until(lambda: _checked(notified), "checked by the ledger's watch")
    logs = {
        path.name: path.read_text(errors="replace") for path in (notified.stack.folder / "logs").iterdir()
    }
    assert "history" in " ".join(logs)
    assert [name for name, text in logs.items() if "AccessDenied" in text] == []
    states = (await notified.archive.ledger.tally(0, FOREVER_MS)).states
    assert states[ObjectState.DEAD_LETTERED] == 0


async def _checked(running: Running) -> bool:
    found = await running.archive.reconciliations.overlapping(0, FOREVER_MS)
    equalities = {str(each.slice.equality) for each in found}
    return equalities >= {"inbox", "objects", "records"} and all(each.outcome.counts for each in found)
