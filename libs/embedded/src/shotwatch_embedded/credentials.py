"""The secrets of a stack, made once and kept in its folder, as the servers keep them in their data."""

import secrets
from getpass import getuser
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shotwatch_common.api_keys import ApiKey, hash_of, new_secret, require_name
from shotwatch_common.vocabulary import Scope
from shotwatch_embedded.errors import StackError

_NAME = "credentials.json"
KEYS_NAME = "api-keys"
"""The file of the keys that the stack's REST API lets in."""


def _secret() -> str:
    return secrets.token_hex(20)


class Credentials(BaseModel):
    """What one needs to be let in by the servers of one stack.

    To change them, stop the stack, delete the file, and start it: each server takes the new ones.
    """

    model_config = ConfigDict(frozen=True)

    broker_password: str = Field(default_factory=_secret)
    store_access_key: str = Field(default_factory=_secret)
    store_secret_key: str = Field(default_factory=_secret)
    models_engineer_password: str = Field(default_factory=_secret)
    models_reader_password: str = Field(default_factory=_secret)
    database_password: str = Field(default_factory=_secret)
    token: str = Field(default_factory=new_secret)
    """API key of the REST API with every scope."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return those of the stack in `folder`. Whatever it lacks is made and kept.

        Raises:
            StackError: the file of the credentials cannot be read.
        """
        path = credentials_file(folder)
        try:
            credentials = cls.model_validate_json(path.read_text()) if path.exists() else cls()
        except (ValidationError, UnicodeDecodeError) as error:
            raise StackError(f"{path} holds no credentials: delete it to have new ones made") from error
        if credentials.model_fields_set != cls.model_fields.keys():
            write_private(path, credentials.model_dump_json())
        return credentials

    def write_keys(self, folder: Path) -> None:
        """Write the keys file of the stack in `folder`: its only key is the token."""
        key = ApiKey(_owner(), frozenset(Scope), None, hash_of(self.token))
        write_private(folder / KEYS_NAME, f"{key.line()}\n")


def credentials_file(folder: Path) -> Path:
    """Return where the credentials of the stack in `folder` are kept."""
    return folder / _NAME


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once: nobody sees half of it."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _owner() -> str:
    """Return the name under which the audit has what the token was used for: the login name, if it fits."""
    try:
        return require_name(getuser())
    except (KeyError, OSError, ValueError):
        return "owner"
