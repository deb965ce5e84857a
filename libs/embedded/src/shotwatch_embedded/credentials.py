"""The secrets of a stack, made once and kept in its folder, as the servers keep them in their data."""

import secrets
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

_NAME = "credentials.json"


def _secret() -> str:
    return secrets.token_hex(20)


class Credentials(BaseModel):
    """What one needs to be let in by the servers of one stack."""

    model_config = ConfigDict(frozen=True)

    broker_password: str = Field(default_factory=_secret)
    store_access_key: str = Field(default_factory=_secret)
    store_secret_key: str = Field(default_factory=_secret)
    models_engineer_password: str = Field(default_factory=_secret)
    models_reader_password: str = Field(default_factory=_secret)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Those of the stack in `folder`; new ones for what it has none of yet."""
        path = folder / _NAME
        credentials = cls.model_validate_json(path.read_text()) if path.exists() else cls()
        write_private(path, credentials.model_dump_json())
        return credentials


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once: nobody sees half of it."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
