"""The documents of the ledger: what was stored before a fact existed can still be read."""

from collections.abc import Mapping
from typing import Any

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.ledger import Ledger
from shotwatch_common.archive.ledger_documents import MOST_STEPS
from shotwatch_shots.ledger import Entry, JoinFacts, ReadFacts, SkippedPart
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState, SkipReason
from tests.support.database import DatabaseInMemory

REF = ObjectRef(
    object_id="id", bucket="inbox", key="file.h5", etag="e", size=10, arrived_at=1_760_000_000_000
)
READ = ReadFacts(
    devices=2,
    records=120,
    skipped=3,
    skipped_by_reason={SkipReason.UNREADABLE: 3},
    skipped_examples=[SkippedPart(where="/a/b", reason=SkipReason.UNREADABLE, detail="no data")],
    blocks_id="blocks",
)
JOIN = JoinFacts(refused={"black_frame": 1}, off_grid=2, second_samples=0, unexpected=4, no_room=0)
STORED = {
    "devices": 2,
    "records": 120,
    "skipped": 3,
    "skipped_by_reason": {"unreadable": 3},
    "skipped_examples": [{"where": "/a/b", "reason": "unreadable", "detail": "no data"}],
    "blocks_id": "blocks",
    "refused": {"black_frame": 1},
    "off_grid": 2,
    "second_samples": 0,
    "unexpected": 4,
    "no_room": 0,
}
"""The fields of a document, as the services wrote them before there were classes for them."""


async def _ledger(fields: Mapping[str, Any]) -> tuple[DatabaseInMemory, Ledger]:
    """Return a ledger with an object that was just entered, and these fields in its document."""
    database = DatabaseInMemory()
    ledger = Ledger(Database(database))
    await ledger.enter(REF, "ingest")
    database["objects"].documents["id"].update(fields)
    return database, ledger


async def test_an_object_that_nobody_has_read_has_no_facts() -> None:
    _, ledger = await _ledger({})
    entry = await ledger.find("id")
    assert entry is not None
    assert (entry.read, entry.join, dict(entry.facts)) == (None, None, {})


async def test_facts_are_stored_as_fields_of_the_document() -> None:
    database, ledger = await _ledger({})
    await ledger.settle_at("id", Entry(ObjectState.INGESTED, "ingest"), ("data", "file.h5"), facts=READ)
    await ledger.note_joined("id", JOIN)
    document = database["objects"].documents["id"]
    assert {name: document[name] for name in STORED} == STORED


async def test_a_stored_document_is_read_into_the_same_facts() -> None:
    _, ledger = await _ledger(STORED)
    entry = await ledger.find("id")
    assert entry is not None
    assert (entry.read, entry.join, dict(entry.facts)) == (READ, JOIN, STORED)


async def test_a_document_without_newer_facts_can_still_be_read() -> None:
    _, ledger = await _ledger({"records": 7, "off_grid": 1})
    entry = await ledger.find("id")
    assert entry is not None
    assert entry.read == ReadFacts(records=7)
    assert entry.join == JoinFacts(off_grid=1)


async def test_a_file_that_is_stored_many_times_has_its_last_steps() -> None:
    """Its document would otherwise grow until the database refuses it, and with it each message about it."""
    _, ledger = await _ledger({})
    for n in range(2 * MOST_STEPS):
        rejected = Entry(ObjectState.REJECTED, "ingest", f"{n} {'x' * 5000}")
        await ledger.settle_at("id", rejected, ("errors", "file.h5"), "empty")
    await ledger.start_again("id", "ingest", "stored again")
    await ledger.settle("id", Entry(ObjectState.DEAD_LETTERED, "ingest", "gave up"))
    await ledger.revive("id", "ingest", "reinjected")
    await ledger.record_step([REF.key], "engineer", "computed again")
    await ledger.note_discarded("id", "ingest", "purged")
    entry = await ledger.find("id")
    assert entry is not None
    whys = [step.why for step in entry.history]
    assert whys[-5:] == ["stored again", "gave up", "reinjected", "computed again", "purged"]
    assert [why.partition(" ")[0] for why in whys[:-5]] == [str(n) for n in range(25, 40)]
    assert max(map(len, whys)) == 500
