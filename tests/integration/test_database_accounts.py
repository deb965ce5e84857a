"""The database's accounts, made by the set-up on a server that asks for passwords.

SecantusDB keeps roles as MongoDB does and applies them to the entire database, whichever collection is
named. test_rights.py shows that services ask for nothing outside of theirs; that MongoDB refuses it was not
tried, as no MongoDB can be had here.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.rights import DATABASE, database_privileges
from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_operations.database.setup import DatabaseSetupSettings, SetupStep, set_up
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY
from tests.ports import free_port

from .processes import running, serving
from .waiting import until

PASSWORDS = {account: f"password of {account}" for account in DATABASE}
ADMIN, ADMIN_PASSWORD = "root", "of the administrator"
UNAUTHORIZED = 13


@dataclass(frozen=True, slots=True)
class Guarded:
    """A database that asks for a password."""

    port: int
    folder: Path

    def url(self, account: str, password: str, database: str = "shotwatch") -> str:
        user = f"{account}:{password.replace(' ', '%20')}"
        return f"mongodb://{user}@{LOOPBACK}:{self.port}/{database}?retryWrites=false"

    def settings(self, **passwords: str) -> DatabaseSetupSettings:
        for file in self.folder.iterdir():
            file.unlink()
        for account, password in passwords.items():
            (self.folder / f"database-{account}-password").write_text(f"{password}\n")
        url = self.url(ADMIN, ADMIN_PASSWORD, "admin")
        return DatabaseSetupSettings.load(
            database_url=url, facility=str(FACILITY), accounts_folder=str(self.folder)
        )

    def archive(self, account: str, password: str = "") -> Archive:
        return Archive.at(self.url(account, password or PASSWORDS[account]), "shotwatch")


def secantus(folder: Path) -> Server:
    """SecantusDB by its own command line, which asks for passwords with `--auth` alone."""
    (configuration := folder / "secantusd.toml").touch()
    port = free_port()
    address = ("--host", LOOPBACK, "--port", str(port), "--storage-path", str(folder / "data"))
    url = f"mongodb://{LOOPBACK}:{port}/?retryWrites=false"
    return Server(
        name="database",
        command=(
            sys.executable,
            "-m",
            "secantus",
            "--config",
            str(configuration),
            *address,
            "--sync-on-commit",
        ),
        environment=server_environment(),
        folder=folder,
        port=port,
        probe=partial(probes.writes_document, url),
        settings={"SHOTWATCH_DATABASE_URL": url},
    )


@pytest.fixture(scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """SecantusDB with an administrator, who is made while it asks for no password."""
    server = secantus(tmp_path_factory.mktemp("database"))
    async with (
        serving(server),
        AsyncMongoClient[dict[str, object]](server.settings["SHOTWATCH_DATABASE_URL"]) as client,
    ):
        root = [{"role": "root", "db": "admin"}]
        await client["admin"].command("createUser", ADMIN, pwd=ADMIN_PASSWORD, roles=root)
    guarded = Guarded(server.port, tmp_path_factory.mktemp("passwords"))
    with running((*server.command, "--auth"), server.environment):
        async with Archive.at(guarded.url(ADMIN, ADMIN_PASSWORD, "admin"), "shotwatch") as archive:
            await until(archive.ready, "a database that asks for passwords")
        yield guarded


@pytest.fixture(scope="module")
async def made(database: Guarded) -> list[tuple[SetupStep, str]]:
    return [each async for each in set_up(database.settings(**PASSWORDS))]


async def test_a_set_up_makes_the_indexes_and_every_account_and_may_be_run_again(
    database: Guarded, made: list[tuple[SetupStep, str]]
) -> None:
    assert made[0][0] is SetupStep.INDEXES
    assert "shots: pulse" in made[0][1]
    assert [name for part, name in made if part is SetupStep.ACCOUNT] == list(DATABASE)
    again = [each async for each in set_up(database.settings(**PASSWORDS))]
    assert again == [(SetupStep.INDEXES, ""), *made[1:]]


@pytest.mark.parametrize("account", DATABASE)
async def test_an_account_has_the_role_of_the_table_and_no_other(
    database: Guarded, made: None, account: str
) -> None:
    url = database.url(ADMIN, ADMIN_PASSWORD, "admin")
    async with AsyncMongoClient[dict[str, object]](url) as client:
        (user,) = (await client["shotwatch"].command("usersInfo", account))["users"]
        (role,) = (await client["shotwatch"].command("rolesInfo", account, showPrivileges=True))["roles"]
    assert user["roles"] == [{"role": account, "db": "shotwatch"}]
    assert role["roles"] == []
    assert role["privileges"] == database_privileges(account, "shotwatch")


@pytest.mark.parametrize("account", DATABASE)
async def test_an_account_finds_its_indexes_and_may_not_administer(
    database: Guarded, made: None, account: str
) -> None:
    async with database.archive(account) as archive:
        assert await archive.missing_indexes(DATABASE[account]) == []
        with pytest.raises(Retry, match="refuses this account"):
            await archive.ensure_indexes()
    async with AsyncMongoClient[dict[str, object]](database.url(account, PASSWORDS[account])) as client:
        for command in (
            {"dropDatabase": 1},
            {"drop": "objects"},
            {"createUser": "me", "pwd": "12345678", "roles": [{"role": account, "db": "shotwatch"}]},
            {"updateRole": account, "privileges": [], "roles": [{"role": "readWrite", "db": "shotwatch"}]},
            {"dropIndexes": "objects", "index": "*"},
            {"usersInfo": 1},
        ):
            with pytest.raises(OperationFailure) as refused:
                await client["shotwatch"].command(command)
            assert refused.value.code == UNAUTHORIZED, command
        with pytest.raises(OperationFailure) as refused:
            await client["elsewhere"]["objects"].insert_one({})
        assert refused.value.code == UNAUTHORIZED


async def test_who_only_reads_a_database_is_refused_a_write_as_something_to_try_again(
    database: Guarded, made: None
) -> None:
    """`query` may update nothing anywhere, so that this server refuses it, too."""
    async with database.archive("query") as archive:
        assert await archive.ledger.find("nothing") is None
        with pytest.raises(Retry, match="refuses this account"):
            await archive.ledger.see(["nothing"])


async def test_nobody_gets_in_without_a_password(database: Guarded, made: None) -> None:
    async with Archive.at(f"mongodb://{LOOPBACK}:{database.port}/?retryWrites=false", "shotwatch") as archive:
        with pytest.raises(Retry, match="refuses this account"):
            await archive.ledger.find("nothing")


async def test_a_password_is_replaced_and_nothing_is_lost(database: Guarded, made: None) -> None:
    """Who has the old one is refused when it connects, and knows it: its messages are held, not given up."""
    async with database.archive("history") as before:
        await before.trends.reported("device", "feature", epoch_now())
    new = "another password"
    changed = [each async for each in set_up(database.settings(history=new))]
    assert changed == [(SetupStep.INDEXES, ""), (SetupStep.ACCOUNT, "history")]
    async with database.archive("history") as old, database.archive("history", new) as after:
        assert not await old.ready()
        with pytest.raises((Retry, *TRANSIENT), match=r"authentication failed|refuses this account"):
            await old.trends.reported_until()
        assert await after.ready()
        assert list(await after.trends.reported_until()) == [("device", "feature")]


async def test_the_command_states_what_it_made_and_no_password(database: Guarded, tmp_path: Path) -> None:
    password_file = tmp_path / "database-validate-password"
    password_file.write_text("from a file\n")
    environment = {
        "SHOTWATCH_DATABASE_URL": database.url(ADMIN, ADMIN_PASSWORD, "admin"),
        "SHOTWATCH_ACCOUNTS_FOLDER": str(tmp_path),
        "SHOTWATCH_FACILITY": str(FACILITY),
    }
    command = (sys.executable, "-m", "shotwatch_operations.database")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"step": "indexes", "made": ""},
        {"step": "account", "made": "validate"},
    ]
    assert b"from a file" not in out + errors
    async with database.archive("validate", "from a file") as archive:
        assert await archive.ready()
