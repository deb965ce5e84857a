"""Set up the database: its indexes, and an account and a role for each service. Set-up may be repeated."""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from pathlib import Path

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pydantic import SecretStr

from shotwatch_common import rights
from shotwatch_common.archive import Archive
from shotwatch_common.archive.driver import Document, translated
from shotwatch_common.settings import Settings
from shotwatch_operations.account_secrets import read_secrets


class DatabaseSetupSettings(Settings):
    """The settings of all services, with an administrator's account and the passwords of the accounts.

    An account without a password is left unchanged.
    """

    store_url: str = "http://not-used"  # the set-up does not use the store
    store_access_key: SecretStr = SecretStr("")
    store_secret_key: SecretStr = SecretStr("")
    models_url: str = "http://not-used"
    accounts_folder: Path | None = None
    """Folder with a `database-{account}-password` or `store-{account}-secret-key` of each account."""


class SetupStep(StrEnum):
    """The kinds of things that are set up."""

    INDEXES = "indexes"
    ACCOUNT = "account"


async def set_up(settings: DatabaseSetupSettings) -> AsyncIterator[tuple[SetupStep, str]]:
    """Create the missing indexes, then each account that has a password. Yield each step.

    An existing account gets the new password, and the rights of `rights.DATABASE` instead of its previous
    ones.

    Raises:
        Retry: the database refuses the administrator's account, or cannot do its work.
        SettingsError: a password cannot be read, or is too short.
    """
    passwords = read_secrets(settings.accounts_folder, rights.DATABASE, "database-{}-password")
    async with Archive.of(settings) as archive:
        missing = await archive.missing_indexes()
        await archive.ensure_indexes()
        yield SetupStep.INDEXES, "; ".join(missing)
    url = settings.database_url.get_secret_value()
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(url, serverSelectionTimeoutMS=5000)
    try:
        for name, password in passwords.items():
            privileges = rights.database_privileges(name, settings.database_name)
            await _make_account(client[settings.database_name], name, password, privileges)
            yield SetupStep.ACCOUNT, name
    finally:
        client.close()


async def _make_account(
    database: AsyncIOMotorDatabase[Document], name: str, password: str, privileges: Sequence[rights.Privilege]
) -> None:
    """Create the role and the user of an account, or update the existing ones.

    The role is written before the password, so that nobody who learns the new password has the old rights.
    """
    with translated():
        has_role = (await database.command("rolesInfo", name))["roles"]
        await database.command(
            "updateRole" if has_role else "createRole", name, privileges=privileges, roles=[]
        )
        has_user = (await database.command("usersInfo", name))["users"]
        await database.command(
            "updateUser" if has_user else "createUser",
            name,
            pwd=password,
            roles=[{"role": name, "db": database.name}],
        )
