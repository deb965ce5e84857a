"""The secrets of a stack. They are new at each start, so credentials of an earlier stack are useless."""

import secrets
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path

from shotwatch_operations.api_keys import ApiKey, hash_of, new_secret, require_name
from shotwatch_shots.vocabulary import Scope

KEYS_NAME = "api-keys"
"""Name of the file with the API keys that the stack's REST API accepts."""


def _secret() -> str:
    return secrets.token_hex(20)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials for the servers of one stack. Each server takes new ones at its start."""

    broker_password: str = field(default_factory=_secret)
    store_access_key: str = field(default_factory=_secret)
    store_secret_key: str = field(default_factory=_secret)
    models_engineer_password: str = field(default_factory=_secret)
    models_reader_password: str = field(default_factory=_secret)
    database_password: str = field(default_factory=_secret)
    token: str = field(default_factory=new_secret)
    """API key of the REST API with every scope."""

    def write_keys(self, folder: Path) -> None:
        """Write the keys file of the stack in `folder`: its only key is the token."""
        key = ApiKey(_owner(), frozenset(Scope), None, hash_of(self.token))
        write_private(folder / KEYS_NAME, f"{key.line()}\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read. It appears atomically, never half-written."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _owner() -> str:
    """Return the name of the token's user in the audit: the login name, if it is valid as such a name."""
    try:
        return require_name(getuser())
    except (KeyError, OSError, ValueError):
        return "owner"
