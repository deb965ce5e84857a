"""What the services ask of the database and the store on real servers is what their accounts may do."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from shotwatch_common.rights import DATABASE, STORE
from shotwatch_common.services import SERVICES
from shotwatch_simulator.simulation import simulate

from .conftest import Running, until
from .recorder import Action, recorded
from .test_path import RULES, simulation

START = datetime(2022, 7, 9, 8, tzinfo=UTC)
ON_BROKER = [service.name for service in SERVICES if service.on_broker]
DEAD_LETTER = "a message about it is dead-lettered"
CHAMPION = "a model is loaded"
CHALLENGER = "a challenger is loaded"
REFERENCE = "a camera has a reference, or enough normal frames for one"
TREND = "a device's measurements have shifted"
OVERDUE = "shots close without a device that has recorded before"
CRASHED = "ingest crashed between copying a file and removing it from the inbox"
MISSING_NOTE = "the note beside a rejected file is gone"
MOVING = "a file was settled and is still in the inbox"
FULL = "a window that is full of files"
UNCACHED = "a block is not in the block cache"
OLD = "shots are older than they are kept"
EXPIRING = ("records", "windows", "unused_sources", "batches", "shots", "shot_counts", "measurements")
SELDOM: Mapping[str, Mapping[Action, str]] = {
    "ingest": {("data", "read"): CRASHED, ("errors", "read"): CRASHED},
    "validate": {("objects", "insert"): DEAD_LETTER, ("objects", "update"): DEAD_LETTER},
    "aggregate": {
        ("objects", "insert"): DEAD_LETTER,
        ("objects", "find"): OVERDUE,
        ("records", "find"): OVERDUE,
        ("devices", "find"): OVERDUE,
        ("inbox", "list"): OVERDUE,
        ("unused_sources", "insert"): FULL,
    },
    "features": {
        ("batches", "update"): DEAD_LETTER,
        ("data/calibration_constants/", "read"): REFERENCE,
        ("blocks", "read"): UNCACHED,
    },
    "inference": {
        ("audit", "find"): CHAMPION,
        ("blocks", "read"): CHAMPION,
        ("blocks/residuals/", "write"): CHAMPION,
        ("levels", "find"): CHAMPION,
        ("levels", "insert"): CHAMPION,
        ("levels", "update"): CHAMPION,
        ("measurements", "insert"): CHAMPION,
        ("measurements", "update"): CHAMPION,
        ("scored_hours", "find"): CHAMPION,
        ("scored_hours", "insert"): CHAMPION,
        ("scored_hours", "update"): CHAMPION,
        ("shadows", "insert"): CHALLENGER,
        ("shadows", "update"): CHALLENGER,
    },
    "history": {
        **{(collection, "remove"): OLD for collection in EXPIRING},
        ("objects", "update"): OLD,
        ("shot_counts", "find"): OLD,
        ("shot_counts", "update"): OLD,
        ("retention", "insert"): OLD,
        ("retention", "update"): OLD,
        ("trends", "insert"): TREND,
        ("trends", "update"): TREND,
        ("events", "insert"): TREND,
        ("events", "update"): TREND,
        ("counters", "insert"): TREND,
        ("counters", "update"): TREND,
        ("feedback", "find"): TREND,
        ("scored_hours", "find"): CHAMPION,
        ("drifts", "insert"): CHAMPION,
        ("drifts", "update"): CHAMPION,
        ("calibration_constants", "insert"): REFERENCE,
        ("data/calibration_constants/", "read"): REFERENCE,
        ("data/calibration_constants/", "write"): REFERENCE,
        ("errors", "read"): MISSING_NOTE,
        ("inbox", "read"): MOVING,
    },
}
"""Rights that a minute of shots does not take, and when they are needed."""


@pytest.fixture(scope="module")
async def asked(running: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anomalous shots, second versions of files, a rejected file, and the ledger's watch over them.

    The tests before this one may have brought all that about.
    """
    if not any(map(needless, ON_BROKER)):
        return
    folder = tmp_path_factory.mktemp("asked")
    first = simulation(running, START, kinds=RULES)
    second = simulation(running, START, kinds=RULES, duration=timedelta(seconds=20), seed=2)
    for n, each in enumerate((first, second)):
        await running.upload(*simulate(each, folder / str(n)))
        await running.judged()
    name = f"LA_Camera-broken_1s_snapshot_{START:%Y-%m-%d_%H-%M-%S}.h5"
    await running.store.put(running.settings.inbox_bucket, name, b"not HDF5")
    await running.judged()
    await until(_watched, "the ledger's watch has checked all of it")


async def _watched() -> bool:
    return not needless("history")


def allowed(account: str) -> set[Action]:
    tables = DATABASE.get(account, {}), STORE.get(account, {})
    return {(where, str(what)) for table in tables for where, actions in table.items() for what in actions}


def needless(account: str) -> set[Action]:
    """What an account may do and was never asked for, nor is it seldom.

    Who may read objects may list them: else a store such as Amazon's refuses an object that is gone.
    """
    readable = {where.partition("/")[0] for where, what in allowed(account) if what == "read"}
    implied = {(bucket, "list") for bucket in readable}
    return allowed(account) - asked_by(account) - SELDOM[account].keys() - implied


def asked_by(account: str) -> set[Action]:
    """Without the indexes, which every account may list where it may do anything."""
    documents = {each for each in recorded("database", account) if each[1] != "listIndexes"}
    return documents | {_as_in_table(account, *each) for each in recorded("store", account)}


def _as_in_table(account: str, where: str, what: str) -> Action:
    bucket = where.partition("/")[0]
    return (where if where in STORE[account] else bucket), what


@pytest.mark.parametrize("account", DATABASE)
def test_no_account_is_asked_to_do_what_it_may_not(asked: None, account: str) -> None:
    assert asked_by(account) - allowed(account) == set()


@pytest.mark.parametrize("account", ON_BROKER)
def test_no_service_may_do_what_it_never_asks_for(asked: None, account: str) -> None:
    assert needless(account) == set()


@pytest.mark.parametrize("account", DATABASE)
def test_indexes_are_listed_only_where_the_account_may_do_anything(asked: None, account: str) -> None:
    listed: Collection[str] = {
        where for where, what in recorded("database", account) if what == "listIndexes"
    }
    assert set(listed) <= DATABASE[account].keys()
