"""What the services ask of the database and the store on real servers is what their accounts may do."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from shotwatch_common.rights import DATABASE, STORE
from shotwatch_simulator.simulation import simulate

from .conftest import Running, until
from .recorder import Action, recorded
from .test_path import RULES, simulation

START = datetime(2022, 7, 9, 8, tzinfo=UTC)
PATH = ("ingest", "validate", "aggregate", "features", "inference", "history")
DEAD_LETTER = "a message about it is dead-lettered"
CHALLENGER = "a challenger is loaded"
CHAMPION = "a champion is compared with what devices measure now"
REFERENCE = "a camera has enough normal frames for a reference"
TREND = "a device's measurements have shifted"
SELDOM: Mapping[str, Mapping[Action, str]] = {
    "validate": {("objects", "insert"): DEAD_LETTER},
    "features": {("batches", "update"): DEAD_LETTER, ("data/characterisations/", "read"): REFERENCE},
    "inference": {("shadows", "insert"): CHALLENGER, ("shadows", "update"): CHALLENGER},
    "history": {
        ("trends", "insert"): TREND,
        ("trends", "update"): TREND,
        ("events", "insert"): TREND,
        ("events", "find"): TREND,
        ("events", "update"): TREND,
        ("counters", "insert"): TREND,
        ("counters", "update"): TREND,
        ("feedback", "find"): TREND,
        ("drifts", "insert"): CHAMPION,
        ("drifts", "update"): CHAMPION,
        ("characterisations", "insert"): REFERENCE,
        ("data/characterisations/", "read"): REFERENCE,
        ("data/characterisations/", "write"): REFERENCE,
    },
}
"""Rights that a minute of shots does not take, and when they are needed; other tests here get there."""


@pytest.fixture(scope="module")
async def asked(running: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anomalous shots, second versions of files, a rejected file, and the ledger's watch over them."""
    folder = tmp_path_factory.mktemp("asked")
    first = simulation(running, START, kinds=RULES)
    second = simulation(running, START, kinds=RULES, duration=timedelta(seconds=20), seed=2)
    for n, each in enumerate((first, second)):
        await running.upload(*simulate(each, folder / str(n)))
        await running.judged()
    name = f"LA_Camera-broken_1s_snapshot_{START:%Y-%m-%d_%H-%M-%S}.h5"
    await running.store.put(running.settings.inbox_bucket, name, b"not HDF5")
    await running.judged()
    await until(_watched, "the ledger's watch has looked at all of it")


async def _watched() -> bool:
    done = recorded("database", "history") | recorded("store", "history")
    return {
        ("reconciliations", "update"),
        ("windows", "find"),
        ("blocks", "read"),
        ("errors", "read"),
    } <= done


def allowed(account: str) -> set[Action]:
    tables = DATABASE.get(account, {}), STORE.get(account, {})
    return {(where, str(what)) for table in tables for where, actions in table.items() for what in actions}


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


@pytest.mark.parametrize("account", PATH)
def test_no_service_may_do_what_it_never_asks_for(asked: None, account: str) -> None:
    assert allowed(account) - asked_by(account) - SELDOM.get(account, {}).keys() == set()


@pytest.mark.parametrize("account", DATABASE)
def test_indexes_are_listed_only_where_the_account_may_do_anything(asked: None, account: str) -> None:
    listed: Collection[str] = {
        where for where, what in recorded("database", account) if what == "listIndexes"
    }
    assert set(listed) <= DATABASE[account].keys()
