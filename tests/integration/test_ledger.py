"""Each equality of the ledger, broken once on each side: what was done is named, and nothing else.

A few files run through the services once. Then objects and documents are deleted, added and altered behind
the services' backs, and put back.
"""

import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping
from contextlib import AsyncExitStack, redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from prometheus_client import REGISTRY
from pymongo import AsyncMongoClient

from shotwatch_cli.balance import CHEAP_MS, BrokerQueues, take_balance
from shotwatch_cli.broker import connected
from shotwatch_cli.deployment import settings_of
from shotwatch_common.archive import Archive
from shotwatch_common.block import Block
from shotwatch_common.blocks import read_block, write_block
from shotwatch_common.bus import Bus
from shotwatch_common.clock import epoch_now
from shotwatch_common.facility_file import load_facility
from shotwatch_common.process import ServiceContext
from shotwatch_common.store import ObjectStore
from shotwatch_common.telemetry import configure_logs
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_history.jobs.ledger import LedgerWatch
from shotwatch_history.settings import HistorySettings
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_operations.reconciliation.reconciler import Reconciler
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.identity import calibration_key
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms, shot_id, window_id
from shotwatch_shots.reconciliation.outcome import Imbalance
from shotwatch_shots.reconciliation.slices import BEGINNING, INBOX, Equality, Slice
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import TOPOLOGY
from tests.facilities import facility_waiting

from .conftest import FOREVER_MS, LATENESS_S, Running, alter_object, bus_to, impatient

START = datetime(2024, 7, 1, 8, tzinfo=UTC)
SECONDS = timedelta(seconds=5)
PLACE = ShotSeries.parse("LA-FSD-00-1s")
NOTHING_UNDER_WAY = Allowances(settling=0, sweeping=-60_000)
"""Whatever is not accounted for now is missing."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A stack at rest, its database without our repositories, and both sides of each equality."""

    running: Running
    database: Any
    collector: Collector
    reconciler: Reconciler

    async def imbalances(self, among: Container[Equality] = Equality) -> list[tuple[Equality, Imbalance]]:
        """What does not add up in any slice of these equalities that was ever noted."""
        noted = {INBOX, *await self.running.archive.reconciliations.changed_since(0)}
        slices = sorted(each for each in noted if each.equality in among)
        outcomes = [(each, await self.collector.compare(each)) for each in slices]
        return [(each.equality, wrong) for each, outcome in outcomes for wrong in outcome.imbalances]

    async def one(self, collection: str, **query: Any) -> dict[str, Any]:
        """A document, always the same one."""
        found = self.database[collection].find(query).sort("_id", 1).limit(1)
        (document,) = [each async for each in found]
        return dict(document)


@pytest.fixture(scope="module")
async def audited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Audited]:
    root = tmp_path_factory.mktemp("ledger")
    facility = facility_waiting(LATENESS_S, root)
    path = [spec for spec in path_services() if spec.name not in ("query", "history")]
    async with AsyncExitStack() as resources:
        enter = resources.enter_async_context
        stack = await enter(Stack.claim(root, "ledger", facility=facility, settings={}))
        stack.start_services(map(impatient, path))
        await stack.services_ready()
        settings, known = settings_of(stack.environment()), load_facility(facility)
        store, archive = await enter(ObjectStore.of(settings)), await enter(Archive.of(settings))
        running = Running(stack, settings, known, store, archive)
        await feed(running, root)
        queues = BrokerQueues(await enter(connected(settings.broker_url.get_secret_value())), TOPOLOGY)
        collector = Collector(archive, store, known, settings, queues, NOTHING_UNDER_WAY)
        client = await enter(AsyncMongoClient(settings.database_url.get_secret_value()))
        audited = Audited(running, client[settings.database_name], collector, Reconciler(archive, collector))
        await audited.reconciler.note_changes()
        yield audited


async def feed(running: Running, folder: Path) -> None:
    """Five seconds of a place with a black frame, a file sent again, a broken one, and no snapshot."""
    expected = running.facility.expected_devices(PLACE)
    assert expected is not None
    anomalous = plan_injections(running.facility, [expected], START, SECONDS, kinds=[Kind.BLACK_FRAME])
    first = Simulation(running.facility, (expected,), START, SECONDS, 1, anomalous)
    files = list(simulate(first, folder / "first"))
    await running.upload(*files)
    inbox = running.settings.inbox_bucket
    await running.store.put(inbox, files[0].name.replace("07-01_08", "07-01_09"), b"")
    for ignored in ("notes.txt", "notes.txt.reason.json"):
        await running.store.put(inbox, ignored, b"not a snapshot")
    learned = calibration_key("camera", "reference", b"")
    await running.store.put(running.settings.data_bucket, learned, b"of no file, and of no day")
    await running.judged()
    again = Simulation(running.facility, (expected,), START, SECONDS, 2)
    await running.upload(next(iter(simulate(again, folder / "again"))))
    await running.judged()


async def test_what_the_services_did_adds_up_and_each_source_states_how_much(audited: Audited) -> None:
    balance = await take_balance(audited.running.archive, audited.reconciler, 0, FOREVER_MS)
    assert (balance.problems, balance.under_way, balance.adds_up) == ([], 0, True)
    counts = {summary.equality: summary.counts for summary in balance.summaries}
    objects, records = counts[Equality.OBJECTS], counts[Equality.RECORDS]
    assert objects["in_buckets"] == objects["in_ledger"] == balance.tally.objects
    assert (objects["replaced"], records["replaced"]) == (0, 1)
    assert records["in_blocks"] == records["validated"] == records["valid"] + records["refused"] > 0
    assert counts[Equality.SHOTS]["closed"] == counts[Equality.SHOTS]["stored"] == 5
    assert counts[Equality.EVENTS]["stored"] == counts[Equality.EVENTS]["numbers"] > 0


# Ways to break an equality: each returns a way to mend it, and what must be named.


Mend = Callable[[], Awaitable[Any]]
Break = Callable[[Audited], Awaitable[tuple[Mend, str]]]


async def object_removed(audited: Audited, **query: Any) -> tuple[Mend, str]:
    document = await audited.one("objects", **query)
    where = document["location"]["bucket"], document["location"]["key"]
    data = await audited.running.store.get(*where)
    await audited.running.store.remove(*where)
    return lambda: audited.running.store.put(*where, data), f"object {document['_id']} .*does not exist"


async def raw_file_removed(audited: Audited) -> tuple[Mend, str]:
    return await object_removed(audited, state="ingested", key={"$regex": "EM-1"})


async def rejected_file_removed(audited: Audited) -> tuple[Mend, str]:
    return await object_removed(audited, state="rejected")


async def ignored_file_removed(audited: Audited) -> tuple[Mend, str]:
    return await object_removed(audited, state="ignored")


async def raw_file_altered(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    where = document["location"]["bucket"], document["location"]["key"]
    data = await audited.running.store.get(*where)
    await audited.running.store.put(*where, data[:-1] + bytes([data[-1] ^ 1]))
    return lambda: audited.running.store.put(*where, data), f"object {document['_id']} .*has etag"


async def object_added(audited: Audited, bucket: str, key: str, named: str) -> tuple[Mend, str]:
    await audited.running.store.put(bucket, key, b"nobody knows this")
    return lambda: audited.running.store.remove(bucket, key), named


async def raw_file_added(audited: Audited) -> tuple[Mend, str]:
    return await object_added(
        audited, "data", "2024-07-01/stray.h5", "data/2024-07-01/stray.h5: in the bucket"
    )


async def stray_outside_of_days(audited: Audited) -> tuple[Mend, str]:
    return await object_added(audited, "errors", "stray.h5", "errors/stray.h5: in no day's folder")


async def stray_in_a_folder_that_is_almost_a_day(audited: Audited) -> tuple[Mend, str]:
    return await object_added(audited, "data", "2024-7-1/stray.h5", "data/2024-7-1/: in no day's folder")


async def note_in_the_data_bucket(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    key = f"{document['location']['key']}.reason.json"
    return await object_added(audited, "data", key, f"data/{key}: in the bucket")


async def note_of_no_file(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="rejected")
    key = f"{document['location']['key']}.gone.reason.json"
    return await object_added(audited, "errors", key, f"errors/{key}: in the bucket")


async def note_removed(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="rejected")
    note = "errors", f"{document['location']['key']}.reason.json"
    data = await audited.running.store.get(*note)
    await audited.running.store.remove(*note)
    return lambda: audited.running.store.put(*note, data), f"object {document['_id']} .*its note .* not exist"


async def raw_file_in_two_buckets(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    key = document["location"]["key"]
    data = await audited.running.store.get("data", key)
    await audited.running.store.put("errors", key, data)
    return lambda: audited.running.store.remove("errors", key), f"errors/{key}: in the bucket"


async def document_removed(
    audited: Audited, collection: str, document: Mapping[str, Any], named: str
) -> tuple[Mend, str]:
    await audited.database[collection].delete_one({"_id": document["_id"]})
    return lambda: audited.database[collection].insert_one(document), named


async def document_altered(
    audited: Audited, collection: str, document: Mapping[str, Any], changes: Mapping[str, Any], named: str
) -> tuple[Mend, str]:
    of_collection = audited.database[collection]
    await of_collection.update_one({"_id": document["_id"]}, {"$set": dict(changes)})
    return lambda: of_collection.replace_one({"_id": document["_id"]}, document), named


async def ledger_entry_removed(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="rejected")
    where = document["location"]["key"]
    return await document_removed(audited, "objects", document, f"errors/{where}: in the bucket")


async def ledger_entry_relocated(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ignored")
    elsewhere = {"location": None}
    where = document["location"]["key"]
    return await document_altered(
        audited, "objects", document, elsewhere, f"data/{where}: in the bucket, and the ledger has no"
    )


async def ledger_entry_added(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="rejected")
    made_up = {
        **document,
        "_id": "made-up",
        "key": "y.h5",
        "location": {"bucket": "errors", "key": f"{START:%Y-%m-%d}/{document['reason']}/y.h5"},
    }
    await audited.database["objects"].insert_one(made_up)
    return lambda: audited.database["objects"].delete_one(
        {"_id": "made-up"}
    ), "object made-up .*does not exist"


async def document_added(
    audited: Audited, collection: str, document: Mapping[str, Any], changes: Mapping[str, Any], named: str
) -> tuple[Mend, str]:
    """Add a copy of a document, with changes."""
    made_up = {**document, "_id": "made-up", **changes}
    await audited.database[collection].insert_one(made_up)
    return lambda: audited.database[collection].delete_one({"_id": made_up["_id"]}), named


async def dead_lettered_object_added(
    audited: Audited, location: Mapping[str, str] | None
) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ignored")
    changes = {"key": "z.h5", "state": "dead_lettered", "location": location}
    history = {"history": [{**step, "state": "dead_lettered"} for step in document["history"]]}
    named = "object made-up .*dead_lettered, and its location is"
    return await document_added(audited, "objects", document, changes | history, named)


async def dead_lettered_object_nowhere(audited: Audited) -> tuple[Mend, str]:
    return await dead_lettered_object_added(audited, None)


async def dead_lettered_object_in_no_day(audited: Audited) -> tuple[Mend, str]:
    return await dead_lettered_object_added(audited, {"bucket": "data", "key": "zzz/z.h5"})


async def dead_lettered_object_in_a_bucket_of_no_files(audited: Audited) -> tuple[Mend, str]:
    return await dead_lettered_object_added(audited, {"bucket": "blocks", "key": f"{START:%Y-%m-%d}/z.h5"})


async def size_altered(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    named = f"object {document['_id']} .*the ledger records etag .*, 7 bytes"
    return await document_altered(audited, "objects", document, {"size": 7}, named)


async def state_altered(
    audited: Audited, before: str, changes: Mapping[str, Any], named: str = "its location is"
) -> tuple[Mend, str]:
    key = {"$regex": "EM-1" if before == "ingested" else ""}
    document = await audited.one("objects", state=before, key=key, location={"$ne": None})
    named = f"object {document['_id']} .*{changes['state']}, and {named}"
    return await document_altered(audited, "objects", document, changes, named)


async def ingested_object_called_ignored(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "ingested", {"state": "ignored"})


async def ingested_object_called_rejected(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "ingested", {"state": "rejected", "reason": "empty"})


async def ingested_object_called_dead_lettered(audited: Audited) -> tuple[Mend, str]:
    changes = {"state": "dead_lettered"}
    return await state_altered(audited, "ingested", changes, "no step of its history records it")


async def ingested_object_called_waiting(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "ingested", {"state": "waiting"})


async def rejected_object_called_ignored(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "rejected", {"state": "ignored"})


async def rejected_for_another_reason(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "rejected", {"state": "rejected", "reason": "not_hdf5"})


async def rejected_object_called_ingested(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "rejected", {"state": "ingested"})


async def ignored_object_called_rejected(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "ignored", {"state": "rejected"})


async def ignored_object_joined(audited: Audited) -> tuple[Mend, str]:
    return await state_altered(audited, "ignored", {"state": "ignored", "joined_at": 1}, "its records were")


async def waiting_object_gone(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="rejected")
    location = {"bucket": "inbox", "key": "gone.h5"}
    gone = {**document, "_id": "gone", "key": "gone.h5", "state": "waiting", "location": location}
    await audited.database["objects"].insert_one(gone)
    return lambda: audited.database["objects"].delete_one(
        {"_id": "gone"}
    ), "object gone .*gone from the inbox"


async def a_block(audited: Audited) -> tuple[dict[str, Any], str, str]:
    """An object, the device of its first block, and that block's key."""
    records = await audited.one("records")
    document = await audited.one("objects", _id=records["object_id"])
    key = f"{START:%Y-%m-%d}/{document['_id']}/{records['device']}.arrow"
    return document, records["device"], key


async def block_removed(audited: Audited) -> tuple[Mend, str]:
    document, device, key = await a_block(audited)
    data = await audited.running.store.get("blocks", key)
    await audited.running.store.remove("blocks", key)
    named = f"object {document['_id']} .*the block of {device} has 0 rows, 5 records were validated"
    return lambda: audited.running.store.put("blocks", key, data), named


async def block_shortened(audited: Audited) -> tuple[Mend, str]:
    document, device, key = await a_block(audited)
    data = await audited.running.store.get("blocks", key)
    whole = read_block(data)
    arrays = {name: array[:-1] for name, array in whole.arrays.items()}
    fewer = Block(whole.device, whole.time[:-1], whole.state[:-1], whole.readable[:-1], arrays)
    await audited.running.store.put("blocks", key, write_block(fewer))
    named = f"object {document['_id']} .*the block of {device} has 4 rows, 5 records were validated"
    return lambda: audited.running.store.put("blocks", key, data), named


async def block_spoilt(audited: Audited) -> tuple[Mend, str]:
    document, device, key = await a_block(audited)
    data = await audited.running.store.get("blocks", key)
    await audited.running.store.put("blocks", key, b"no block")
    named = f"object {document['_id']} .*the block of {device} cannot be read"
    return lambda: audited.running.store.put("blocks", key, data), named


async def block_of_other_times(audited: Audited) -> tuple[Mend, str]:
    document, _, key = await a_block(audited)
    data = await audited.running.store.get("blocks", key)
    whole = read_block(data)
    later = Block(whole.device, whole.time + 1, whole.state, whole.readable, whole.arrays)
    await audited.running.store.put("blocks", key, write_block(later))
    named = f"object {document['_id']} .*ingest wrote other bytes"
    return lambda: audited.running.store.put("blocks", key, data), named


async def block_added(audited: Audited) -> tuple[Mend, str]:
    document, _, key = await a_block(audited)
    data = await audited.running.store.get("blocks", key)
    more = f"{key.rpartition('/')[0]}/another.arrow"
    await audited.running.store.put("blocks", more, data)
    named = f"object {document['_id']} .*the block of another has 5 rows, 0 records"
    return lambda: audited.running.store.remove("blocks", more), named


async def block_without_its_suffix_added(audited: Audited) -> tuple[Mend, str]:
    document, _, key = await a_block(audited)
    data, more = await audited.running.store.get("blocks", key), key.removesuffix(".arrow")
    await audited.running.store.put("blocks", more, data)
    named = f"object {document['_id']} .*the block of .* has 5 rows, 0 records"
    return lambda: audited.running.store.remove("blocks", more), named


async def block_of_no_object(audited: Audited) -> tuple[Mend, str]:
    _, _, key = await a_block(audited)
    folder = f"{START:%Y-%m-%d}/0123456789abcdef01234567/"
    stray = f"{folder}{key.rpartition('/')[2]}"
    return await object_added(audited, "blocks", stray, f"blocks/{folder}: blocks of an object")


async def block_outside_of_days(audited: Audited) -> tuple[Mend, str]:
    return await object_added(audited, "blocks", "stray.arrow", "blocks/stray.arrow: in no day's folder")


async def block_in_no_folder_of_an_object(audited: Audited) -> tuple[Mend, str]:
    stray = f"{START:%Y-%m-%d}/stray.arrow"
    return await object_added(audited, "blocks", stray, f"blocks/{stray}: blocks of an object")


async def block_in_the_folder_of_another_day(audited: Audited) -> tuple[Mend, str]:
    document, _, key = await a_block(audited)
    stray = f"2019-03-01/{key.partition('/')[2]}"
    named = f"blocks/2019-03-01/{document['_id']}/: blocks of an object of {START:%Y-%m-%d}"
    mend, _ = await object_added(audited, "blocks", stray, named)
    await audited.reconciler.note_changes()
    return mend, named


async def refusals_altered(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("records")
    more = {"refused": {"state_not_on": 7}}
    named = f"object {document['object_id']} .*validation refused"
    return await document_altered(audited, "records", document, more, named)


async def window_of_an_unknown_file(audited: Audited) -> tuple[Mend, str]:
    window = await audited.one("windows")
    files = {"files": [*window["files"], "unknown.h5"]}
    named = f"window {window['_id']}: its list of files and its sources differ in unknown.h5"
    return await document_altered(audited, "windows", window, files, named)


async def window_with_records_of(audited: Audited, object_id: str, key: str) -> tuple[Mend, str]:
    """A window to which a device is added, with records of this object."""
    window = await audited.one("windows")
    device = window["devices"][0]
    sources = [{**device["sources"][0], "object_id": object_id, "object_key": key}]
    devices = [*window["devices"], {**device, "device": "made-up", "sources": sources}]
    named = f"window {window['_id']}: has records of object {object_id}"
    return await document_altered(audited, "windows", window, {"devices": devices}, named)


async def window_of_an_unknown_object(audited: Audited) -> tuple[Mend, str]:
    known = (await audited.one("windows"))["files"][0]
    return await window_with_records_of(audited, "unknown", known)


async def window_of_a_replaced_object(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", _id=(await audited.one("records"))["object_id"])
    earlier = await audited.one("objects", key=document["key"], arrived_at={"$lt": document["arrived_at"]})
    mend, _ = await window_with_records_of(audited, earlier["_id"], earlier["key"])
    named = f"object {earlier['_id']} .*replaced by object {document['_id']}, and 5 of its records are in"
    return mend, named


async def window_of_another_place(audited: Audited) -> tuple[Mend, str]:
    window = await audited.one("windows")
    named = f"window {window['_id']}: has place, interval and start of window LA-A1-11-1s"
    return await document_altered(audited, "windows", window, {"place": "LA-A1-11"}, named)


async def records_of_an_unknown_object(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("records")
    named = f"document of {document['device']} in the collection records: has records of object unknown"
    return await document_added(audited, "records", document, {"object_id": "unknown"}, named)


async def records_of_a_rejected_object(audited: Audited) -> tuple[Mend, str]:
    document, rejected = await audited.one("records"), await audited.one("objects", state="rejected")
    of_rejected = {"object_id": rejected["_id"], "object_key": rejected["key"]}
    named = f"object {rejected['_id']} .*rejected, and 5 records of it were validated"
    return await document_added(audited, "records", document, of_rejected, named)


async def records_removed(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("records")
    return await document_removed(audited, "records", document, f"object {document['object_id']} ")


async def records_of_an_unknown_file(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("records")
    made_up = {**document, "_id": "made-up", "object_key": "unknown.h5"}
    await audited.database["records"].insert_one(made_up)
    named = f"document of {document['device']} in the collection records: has records of unknown.h5"
    return lambda: audited.database["records"].delete_one({"_id": "made-up"}), named


async def joined_row_removed(audited: Audited) -> tuple[Mend, str]:
    window = await audited.one("windows")
    device = window["devices"][0]
    source = bytearray(device["source"])
    first = next(n for n in range(0, len(source), 2) if source[n : n + 2] != b"\xff\xff")
    source[first : first + 2] = b"\xff\xff"
    (object_id,) = [each["object_id"] for each in device["sources"]]
    changes = {"devices.0.source": bytes(source)}
    return await document_altered(audited, "windows", window, changes, f"object {object_id} .*windows have")


async def ledger_counts_more_off_the_grid(audited: Audited) -> tuple[Mend, str]:
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    named = f"object {document['_id']} .*1 are on no pulse"
    return await document_altered(audited, "objects", document, {"off_grid": 1}, named)


async def shot_removed(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    return await document_removed(
        audited, "shots", shot, f"shot of {shot['window']} at {shot['pulse']}: judged"
    )


async def shot_added(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    pulse = shot["pulse"] + 30_000
    added = {"_id": shot_id(PLACE, pulse), "pulse": pulse}
    named = f"shot {added['_id']}: stored, and not closed"
    return await document_added(audited, "shots", shot, added, named)


async def shot_added_twice(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    return await document_added(audited, "shots", shot, {}, f"shot made-up: .*data of shot {shot['_id']} of")


async def shot_of_a_window_of_another_time(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    pulse = shot["pulse"] + 10 * DAY_MS
    added = {"_id": shot_id(PLACE, pulse), "pulse": pulse}
    named = f"shot {added['_id']}: stored for window {shot['window']}, with the data of"
    mend, _ = await document_added(audited, "shots", shot, added, named)
    await audited.reconciler.note_occupied(pulse, pulse + 1)
    return mend, named


async def shot_of_another_place(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    named = f"shot {shot['_id']}: .*with the data of shot LA-A1-11-1s"
    return await document_altered(audited, "shots", shot, {"place": "LA-A1-11"}, named)


async def shot_of_a_window_that_states_no_time(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    return await document_added(audited, "shots", shot, {"window": "w"}, "shot made-up: stored for window w,")


async def shot_of_another_revision(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    return await document_altered(
        audited, "shots", shot, {"revision": 9}, f"shot {shot['_id']}: stored at revision 9"
    )


async def shot_of_another_batch(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    named = f"shot {shot['_id']}: stored as number {shot['index']} of batch another, closed as number"
    return await document_altered(audited, "shots", shot, {"batch": "another"}, named)


async def shot_with_the_members_of_another(audited: Audited) -> tuple[Mend, str]:
    shot = await audited.one("shots")
    named = f"shot {shot['_id']}: stored as number 77 of batch {shot['batch']}, closed as number"
    return await document_altered(audited, "shots", shot, {"index": 77}, named)


async def pulse_opened_again(audited: Audited) -> tuple[Mend, str]:
    window = await audited.one("windows")
    revision = bytearray(window["revision"])
    first = next(n for n in range(0, len(revision), 4) if any(revision[n : n + 4]))
    revision[first : first + 4] = bytes(4)
    changes = {"revision": bytes(revision)}
    return await document_altered(
        audited, "windows", window, changes, "shot LA-FSD.*: stored, and not closed"
    )


async def batch_never_judged(audited: Audited) -> tuple[Mend, str]:
    batch = (await audited.one("shots"))["batch"]
    document = await audited.one("batches", _id=batch)
    return await document_altered(
        audited, "batches", document, {"judged_at": 0}, "shot of .*, and never judged"
    )


async def batch_removed(audited: Audited) -> tuple[Mend, str]:
    batch = (await audited.one("shots"))["batch"]
    document = await audited.one("batches", _id=batch)
    return await document_removed(audited, "batches", document, "shot of .*, and in no batch")


async def a_batch(audited: Audited) -> dict[str, Any]:
    return await audited.one("batches", _id=(await audited.one("shots"))["batch"])


async def batch_added_twice(audited: Audited) -> tuple[Mend, str]:
    batch = await a_batch(audited)
    again = {"_id": f"{batch['window']}-99"}
    named = f"batch ({again['_id']}|{batch['_id']}): has shots that batch"
    return await document_added(audited, "batches", batch, again, named)


async def batch_with_the_id_of_another_window(audited: Audited) -> tuple[Mend, str]:
    batch = {**await a_batch(audited), "message": b'{"pulses": [], "revisions": []}'}
    named = "batch made-up: stored for window .*, and has the id of another"
    return await document_added(audited, "batches", batch, {}, named)


async def batch_of_shots_that_are_open(audited: Audited) -> tuple[Mend, str]:
    batch = await a_batch(audited)
    message = json.loads(batch["message"])
    later = {**message, "pulses": [pulse + 30_000 for pulse in message["pulses"]]}
    added = {"_id": f"{batch['window']}-99", "message": json.dumps(later).encode()}
    named = f"batch {added['_id']}: has 5 shots that window {batch['window']} did not close"
    return await document_added(audited, "batches", batch, added, named)


async def batch_of_no_window(audited: Audited) -> tuple[Mend, str]:
    batch, elsewhere = await a_batch(audited), window_id(PLACE, epoch_ms(LONG_BEFORE))
    added = {"_id": f"{elsewhere}-1", "window": elsewhere}
    named = f"batch {elsewhere}-1: stored, and there is no window {elsewhere}"
    mend, _ = await document_added(audited, "batches", batch, added, named)
    await audited.reconciler.note_occupied(batch["closed_at"], batch["closed_at"] + 1)
    return mend, named


async def event_removed(audited: Audited) -> tuple[Mend, str]:
    event = await audited.one("events", sequence=1)
    return await document_removed(audited, "events", event, "event number 1: no event has this number")


async def last_event_removed(audited: Audited) -> tuple[Mend, str]:
    last = await audited.running.archive.events.last_number()
    event = await audited.one("events", sequence=last)
    return await document_removed(audited, "events", event, f"event number {last}: no event has this number")


async def event_added(audited: Audited) -> tuple[Mend, str]:
    event, last = await audited.one("events"), await audited.running.archive.events.last_number()
    event["event"]["data"]["sequence"] = last + 1
    await audited.database["events"].insert_one({**event, "_id": "made-up", "sequence": last + 1})
    return (
        lambda: audited.database["events"].delete_one({"_id": "made-up"}),
        f"event made-up .*only the numbers 1 to {last} were given out",
    )


async def event_added_twice(audited: Audited) -> tuple[Mend, str]:
    event = await audited.one("events", sequence=1)
    return await document_added(audited, "events", event, {}, "event made-up .*another event has the same")


async def event_before_the_first_number(audited: Audited) -> tuple[Mend, str]:
    event = await audited.one("events", sequence=1)
    event["event"]["data"]["sequence"] = 0
    named = "event made-up .*only the numbers 1 to"
    return await document_added(audited, "events", event, {"sequence": 0}, named)


async def number_reserved_that_an_event_has(audited: Audited) -> tuple[Mend, str]:
    counter = await audited.one("counters", _id="events")
    reserved = {"reserved.made-up": {"number": 1, "at": epoch_now()}}
    return await document_altered(audited, "counters", counter, reserved, "event number 1: reserved")


async def event_with_another_number(audited: Audited) -> tuple[Mend, str]:
    event = await audited.one("events", sequence=1)
    changes = {"event.data.sequence": 7}
    named = f"event {event['_id']} .*subscribers see number 7"
    return await document_altered(audited, "events", event, changes, named)


async def event_never_confirmed(audited: Audited) -> tuple[Mend, str]:
    event = await audited.one("events", sequence=1)
    named = f"event {event['_id']} .*never confirmed"
    return await document_altered(audited, "events", event, {"published_at": 0}, named)


async def number_reserved_and_never_used(audited: Audited) -> tuple[Mend, str]:
    counter = await audited.one("counters", _id="events")
    numbers = await audited.running.archive.events.reserve(["never-stored"])
    await audited.reconciler.note_changes()
    named = f"event number {numbers['never-stored']}: reserved"
    return lambda: audited.database["counters"].replace_one({"_id": "events"}, counter), named


CASES: Mapping[Break, Equality] = {
    raw_file_removed: Equality.OBJECTS,
    rejected_file_removed: Equality.OBJECTS,
    ignored_file_removed: Equality.OBJECTS,
    raw_file_altered: Equality.OBJECTS,
    raw_file_added: Equality.OBJECTS,
    stray_outside_of_days: Equality.INBOX,
    stray_in_a_folder_that_is_almost_a_day: Equality.INBOX,
    note_in_the_data_bucket: Equality.OBJECTS,
    note_of_no_file: Equality.OBJECTS,
    note_removed: Equality.OBJECTS,
    raw_file_in_two_buckets: Equality.OBJECTS,
    ledger_entry_removed: Equality.OBJECTS,
    ledger_entry_relocated: Equality.OBJECTS,
    ledger_entry_added: Equality.OBJECTS,
    size_altered: Equality.OBJECTS,
    dead_lettered_object_nowhere: Equality.RECORDS,
    dead_lettered_object_in_no_day: Equality.RECORDS,
    dead_lettered_object_in_a_bucket_of_no_files: Equality.RECORDS,
    ingested_object_called_ignored: Equality.RECORDS,
    ingested_object_called_rejected: Equality.RECORDS,
    ingested_object_called_dead_lettered: Equality.RECORDS,
    ingested_object_called_waiting: Equality.RECORDS,
    rejected_object_called_ignored: Equality.RECORDS,
    rejected_for_another_reason: Equality.RECORDS,
    rejected_object_called_ingested: Equality.RECORDS,
    ignored_object_called_rejected: Equality.RECORDS,
    ignored_object_joined: Equality.RECORDS,
    waiting_object_gone: Equality.INBOX,
    block_removed: Equality.RECORDS,
    block_shortened: Equality.RECORDS,
    block_spoilt: Equality.RECORDS,
    block_of_other_times: Equality.RECORDS,
    block_added: Equality.RECORDS,
    block_without_its_suffix_added: Equality.RECORDS,
    block_of_no_object: Equality.OBJECTS,
    block_outside_of_days: Equality.INBOX,
    block_in_no_folder_of_an_object: Equality.OBJECTS,
    block_in_the_folder_of_another_day: Equality.OBJECTS,
    refusals_altered: Equality.RECORDS,
    window_of_an_unknown_file: Equality.SHOTS,
    window_of_an_unknown_object: Equality.SHOTS,
    window_of_a_replaced_object: Equality.RECORDS,
    window_of_another_place: Equality.SHOTS,
    records_of_an_unknown_object: Equality.SHOTS,
    records_of_a_rejected_object: Equality.RECORDS,
    records_of_an_unknown_file: Equality.SHOTS,
    records_removed: Equality.RECORDS,
    joined_row_removed: Equality.RECORDS,
    ledger_counts_more_off_the_grid: Equality.RECORDS,
    shot_removed: Equality.SHOTS,
    shot_added: Equality.SHOTS,
    shot_added_twice: Equality.SHOTS,
    shot_of_a_window_of_another_time: Equality.SHOTS,
    shot_of_another_place: Equality.SHOTS,
    shot_of_a_window_that_states_no_time: Equality.SHOTS,
    shot_of_another_revision: Equality.SHOTS,
    shot_of_another_batch: Equality.SHOTS,
    shot_with_the_members_of_another: Equality.SHOTS,
    pulse_opened_again: Equality.SHOTS,
    batch_never_judged: Equality.SHOTS,
    batch_removed: Equality.SHOTS,
    batch_added_twice: Equality.SHOTS,
    batch_with_the_id_of_another_window: Equality.SHOTS,
    batch_of_shots_that_are_open: Equality.SHOTS,
    batch_of_no_window: Equality.SHOTS,
    event_removed: Equality.EVENTS,
    last_event_removed: Equality.EVENTS,
    event_added: Equality.EVENTS,
    event_added_twice: Equality.EVENTS,
    event_before_the_first_number: Equality.EVENTS,
    number_reserved_that_an_event_has: Equality.EVENTS,
    event_with_another_number: Equality.EVENTS,
    event_never_confirmed: Equality.EVENTS,
    number_reserved_and_never_used: Equality.EVENTS,
}


@pytest.mark.parametrize(
    ("spoil", "equality"), [pytest.param(*each, id=each[0].__name__) for each in CASES.items()]
)
async def test_what_is_wrong_is_named_and_nothing_else(
    audited: Audited, spoil: Break, equality: Equality
) -> None:
    mend, named = await spoil(audited)
    try:
        found = await audited.imbalances()
    finally:
        await mend()
    assert {each for each, _ in found} == {equality}
    wrong = [f"{imbalance.subject}: {imbalance.wrong}" for _, imbalance in found]
    subjects = {imbalance.subject for _, imbalance in found}
    # A shot and its batch, several shots, a file and its note, or two events.
    some_shots = (shot_of_another_place, pulse_opened_again, batch_never_judged, batch_removed)
    of_several = spoil in (*some_shots, ledger_entry_removed, event_added_twice)
    assert len(subjects) == 1 or of_several, wrong
    assert any(re.match(named, each) for each in wrong), wrong
    assert await audited.imbalances({equality}) == []


async def test_a_check_is_kept_until_something_changes_or_somebody_asks_again(audited: Audited) -> None:
    archive, reconciler = audited.running.archive, audited.reconciler
    await take_balance(archive, reconciler, 0, FOREVER_MS)
    slice_ = Slice.at(Equality.OBJECTS, round(START.timestamp() * 1000))
    assert await open_slices(audited) == set(), "what adds up is not checked again"
    mend, named = await raw_file_removed(audited)
    try:
        found = await reconciler.check(slice_)
        (wrong,) = found.outcome.imbalances
        assert re.match(named, f"{wrong.subject}: {wrong.wrong}")
        assert found.confirmed == ()
        assert (await reconciler.check(slice_)).confirmed == (wrong,), "found twice, it is confirmed"
        assert slice_ in await open_slices(audited), "what does not add up is checked again"
        stored = await archive.reconciliations.find(slice_)
        assert stored is not None
        assert stored.confirmed == (wrong,)
    finally:
        await mend()
    assert (await take_balance(archive, reconciler, 0, FOREVER_MS)).adds_up
    assert await open_slices(audited) == set()
    document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
    await alter_object(audited.running, document["_id"], joined_at=epoch_now())
    await reconciler.note_changes()
    assert slice_ in await open_slices(audited), "what changed is checked again"


async def open_slices(audited: Audited) -> set[Slice]:
    return set(await audited.running.archive.reconciliations.due(FOREVER_MS))


async def test_a_settled_span_is_checked_again_if_that_is_cheap_or_on_request(audited: Audited) -> None:
    archive, reconciler = audited.running.archive, audited.reconciler
    await take_balance(archive, reconciler, 0, FOREVER_MS)
    mend, named = await raw_file_removed(audited)
    try:
        await settled_long_ago(audited, took_ms=CHEAP_MS)
        costly = await take_balance(archive, reconciler, 0, FOREVER_MS)
        rechecked = await take_balance(archive, reconciler, 0, FOREVER_MS, recheck=True)
        await settled_long_ago(audited, took_ms=1)
        cheap = await take_balance(archive, reconciler, 0, FOREVER_MS)
    finally:
        await mend()
    assert costly.adds_up
    for balance in (rechecked, cheap):
        (problem,) = balance.problems
        assert re.match(f"objects 2024-07-01: {named}", problem)
    assert (await take_balance(archive, reconciler, 0, FOREVER_MS)).adds_up


async def test_objects_and_folders_of_any_time_are_counted_and_checked(audited: Audited) -> None:
    archive, reconciler, objects = audited.running.archive, audited.reconciler, audited.database["objects"]
    document = await audited.one("objects", state="ignored")
    early = {"_id": "early", "key": "early.txt", "arrived_at": 1, "since": epoch_now(), "location": None}
    await objects.insert_one({**document, **early})
    mend, _ = await object_added(audited, "data", "1969-12-31/stray.h5", "")
    try:
        balance = await take_balance(archive, reconciler, BEGINNING, FOREVER_MS, recheck=True)
        documents = await objects.count_documents({})
    finally:
        await mend()
        await objects.delete_one({"_id": "early"})
    assert balance.tally.objects == documents
    (problem,) = balance.problems
    assert problem.startswith("objects 1969-12-31: data/1969-12-31/stray.h5: in the bucket")
    assert (await take_balance(archive, reconciler, BEGINNING, FOREVER_MS, recheck=True)).adds_up


LONG_BEFORE = datetime(2019, 3, 1, tzinfo=UTC)


async def placed_in_another_hour(audited: Audited, collection: str, start: int) -> tuple[Mend, str]:
    """A copy of a document, in an hour of which nobody ever noted a change."""
    made_up: dict[str, Any] = {"_id": "elsewhere"}
    match collection:
        case "windows":
            made_up |= {"start": start, "files": ["unknown.h5"]}
            named = "window elsewhere: has place, interval and start of window LA-FSD"
        case "shots":
            made_up |= {"_id": shot_id(PLACE, start), "pulse": start, "window": window_id(PLACE, start)}
            named = f"shot {shot_id(PLACE, start)}: stored, and there is no window"
        case "records":
            made_up |= {"start": start, "object_key": "unknown.h5"}
            named = "has records of unknown.h5"
        case "events":
            made_up |= {"stored_at": start, "sequence": 10**6}
            named = "event elsewhere .*only the numbers 1 to"
        case _:
            day = f"{LONG_BEFORE:%Y-%m-%d}"
            made_up |= {"arrived_at": start, "key": "z.txt", "since": start, "joined_at": 0}
            made_up |= {"location": {"bucket": "data", "key": f"{day}/ignored/z.txt"}}
            named = "object elsewhere .*does not exist"
    query = {"state": "ignored", "location": {"$ne": None}} if collection == "objects" else {}
    await audited.database[collection].insert_one({**await audited.one(collection, **query), **made_up})
    return lambda: audited.database[collection].delete_one({"_id": made_up["_id"]}), named


@pytest.mark.parametrize("collection", ["windows", "shots", "records", "events", "objects"])
async def test_what_was_added_to_an_hour_of_which_nothing_was_noted_is_found(
    audited: Audited, collection: str
) -> None:
    archive, reconciler = audited.running.archive, audited.reconciler
    mend, named = await placed_in_another_hour(audited, collection, epoch_ms(LONG_BEFORE))
    try:
        by_command = await take_balance(archive, reconciler, BEGINNING, FOREVER_MS, recheck=True)
        added = await audited.database["reconciliations"].find_one_and_delete({"imbalanced": {"$gt": 0}})
        assert added is not None
        rechecking = Reconciler(archive, audited.collector)
        await rechecking.recheck()
        by_recheck = {str(slice_) for slice_ in await rechecking.due()}
    finally:
        await mend()
    assert re.search(named, "\n".join(by_command.problems))
    assert {problem.partition(":")[0] for problem in by_command.problems} <= by_recheck
    assert (await take_balance(archive, reconciler, BEGINNING, FOREVER_MS)).adds_up


async def settled_long_ago(audited: Audited, took_ms: int) -> None:
    """Every check was two days ago, found nothing wrong, and took this time."""
    settled = {"open": False, "marked_at": 1, "imbalances": [], "imbalanced": 0, "confirmed": []}
    checked = {"checked_at": epoch_now() - 2 * DAY_MS, "took_ms": took_ms}
    await audited.database["reconciliations"].update_many(
        {"_id": {"$ne": "changes"}}, {"$set": settled | checked}
    )


async def test_what_was_altered_behind_our_back_is_found_by_the_patrol(audited: Audited) -> None:
    await settled_long_ago(audited, took_ms=CHEAP_MS)
    watch, bus = await ledger_watch(audited)
    mend, _ = await raw_file_removed(audited)
    slice_ = Slice.at(Equality.OBJECTS, round(START.timestamp() * 1000))
    try:
        for _ in range(len(await audited.running.archive.reconciliations.overlapping(0, FOREVER_MS))):
            await watch.poll()
        found = await audited.running.archive.reconciliations.find(slice_)
    finally:
        await mend()
        await let_pauses_end(audited)
        await watch.poll()
        await bus.stop()
    assert found is not None
    assert len(found.outcome.imbalances) == 1
    assert unaccounted() == 0


async def test_history_logs_what_two_checks_found_until_it_is_mended(audited: Audited) -> None:
    logged = io.StringIO()
    with redirect_stderr(logged):
        watch, bus = await ledger_watch(audited)
        document = await audited.one("objects", state="ingested", key={"$regex": "EM-1"})
        mend, _ = await raw_file_removed(audited)
        try:
            await alter_object(audited.running, document["_id"], joined_at=epoch_now() - 1)
            await watch.poll()
            assert (unaccounted(), "imbalance" in logged.getvalue()) == (0, False)
            await let_pauses_end(audited)
            await watch.poll()
            assert unaccounted() == 1
            assert document["_id"] in logged.getvalue()
        finally:
            await mend()
        await let_pauses_end(audited)
        await watch.poll()
        await bus.stop()
    assert unaccounted() == 0


async def ledger_watch(audited: Audited) -> tuple[LedgerWatch, Bus]:
    """A watch for which no pause of an earlier check is left."""
    await let_pauses_end(audited)
    running, tracer = audited.running, trace.get_tracer("test")
    settings = HistorySettings.model_validate(running.settings.model_dump())
    bus = bus_to(settings.broker_url.get_secret_value())
    await bus.connect()
    log = configure_logs("test")
    context = ServiceContext(settings, running.facility, bus, running.store, running.archive, tracer, log)
    return LedgerWatch(context, NOTHING_UNDER_WAY), bus


async def let_pauses_end(audited: Audited) -> None:
    await audited.database["reconciliations"].update_many({}, {"$set": {"again_at": 0}})


def unaccounted() -> float:
    value = REGISTRY.get_sample_value("shotwatch_ledger_unaccounted")
    assert value is not None
    return value


async def test_an_event_keeps_its_number_though_somebody_died_between_numbering_and_storing(
    audited: Audited,
) -> None:
    """The first attempt reserves a number and dies; another event is stored before it is tried again."""
    events = audited.running.archive.events
    document = await audited.one("events", sequence=1)
    first, other = (
        AnomalyEvent.model_validate(document["event"]).model_copy(update={"id": id_})
        for id_ in ("died", "other")
    )
    reserved = await events.reserve([first.id])
    numbers = await events.reserve([other.id])
    await events.add([other.numbered(numbers[other.id])])
    again = await events.reserve([first.id])
    await events.add([first.numbered(again[first.id])])
    await events.published([first.numbered(again[first.id]), other.numbered(numbers[other.id])])
    await audited.reconciler.note_changes()
    assert again == reserved
    assert await audited.imbalances() == []


async def test_two_replicas_that_number_an_event_at_once_leave_no_gap(audited: Audited) -> None:
    events = audited.running.archive.events
    document = await audited.one("events", sequence=1)
    event = AnomalyEvent.model_validate(document["event"]).model_copy(update={"id": "numbered twice"})
    faster = await events.reserve([event.id])
    await events.add([event.numbered(faster[event.id])])
    await events.published([event.numbered(faster[event.id])])
    slower = await events.reserve([event.id])
    await events.add([event.numbered(slower[event.id])])
    await audited.reconciler.note_changes()
    assert slower != faster
    assert await audited.imbalances() == []
