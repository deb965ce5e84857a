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

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Those of the stack in `folder`; new ones if it has none yet."""
        path = folder / _NAME
        if not path.exists():
            write_private(path, cls().model_dump_json())
        return cls.model_validate_json(path.read_text())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once: nobody sees half of it."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
