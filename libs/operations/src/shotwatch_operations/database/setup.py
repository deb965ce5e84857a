"""Set up the database: its indexes, and an account and a role for each service. Set-up may be repeated."""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Annotated

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pydantic import Field, SecretStr

from shotwatch_common import rights
from shotwatch_common.archive import Archive
from shotwatch_common.archive.driver import Document, translated
from shotwatch_common.settings import Settings

Password = Annotated[SecretStr | None, Field(min_length=8)]


class DatabaseSetupSettings(Settings):
    """The settings of all services, with an administrator's account and the passwords of the accounts.

    An account without a password is left unchanged.
    """

    store_url: str = "http://not-used"  # the set-up does not use the store
    store_access_key: SecretStr = SecretStr("")
    store_secret_key: SecretStr = SecretStr("")
    models_url: str = "http://not-used"
    database_ingest_password: Password = None
    """Password of the account `ingest`."""
    database_validate_password: Password = None
    """Password of the account `validate`."""
    database_aggregate_password: Password = None
    """Password of the account `aggregate`."""
    database_features_password: Password = None
    """Password of the account `features`."""
    database_inference_password: Password = None
    """Password of the account `inference`."""
    database_history_password: Password = None
    """Password of the account `history`."""
    database_query_password: Password = None
    """Password of the account `query`."""
    database_training_password: Password = None
    """Password of the account `training`."""
    database_engineer_password: Password = None
    """Password of the account `engineer`."""


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
    """
    async with Archive.of(settings) as archive:
        missing = await archive.missing_indexes()
        await archive.ensure_indexes()
        yield SetupStep.INDEXES, "; ".join(missing)
    url = settings.database_url.get_secret_value()
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(url, serverSelectionTimeoutMS=5000)
    try:
        for name in rights.DATABASE:
            password: SecretStr | None = getattr(settings, f"database_{name}_password")
            if password is not None:
                privileges = rights.database_privileges(name, settings.database_name)
                await _make_account(
                    client[settings.database_name], name, password.get_secret_value(), privileges
                )
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
