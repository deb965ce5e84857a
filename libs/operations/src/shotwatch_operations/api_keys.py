"""API keys of the REST API. A key is shown once, when it is created; a file holds its hash, one key per line.

A line has the form `name scopes expires hash`, for example `grafana read never sha256:…`; `#` starts a
comment.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Self

from shotwatch_shots.vocabulary import Scope

PREFIX = "shotwatch_"
"""Prefix of every key. Scanners for leaked secrets recognize it, and no token starts with it."""
_NEVER = "never"
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class KeyLineError(ValueError):
    """A line of a keys file cannot be read; the message names the line and the reason."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored data of a key, which never include the key itself."""

    name: str
    scopes: frozenset[Scope]
    expires: datetime | None
    """None if the key never expires."""
    hash: str
    """`sha256:` and 64 hex digits. A key has 256 random bits, so a slow hash is not needed."""

    @classmethod
    def read(cls, line: str) -> Self:
        """Parse a line of a keys file.

        Raises:
            KeyLineError: the line does not consist of name, scopes, expiry and hash.
        """
        try:
            name, scopes, expires, hashed = line.split()
            key = cls(require_name(name), read_scopes(scopes), _read_expiry(expires), hashed)
        except ValueError as error:
            raise KeyLineError(f"{error}: not `name scopes expires hash`") from error
        if not _HASH.fullmatch(hashed):
            raise KeyLineError(f"the hash of {name} is not `sha256:` and 64 hex digits")
        return key

    def line(self) -> str:
        """Return the key's line in a file."""
        expires = self.expires.isoformat() if self.expires else _NEVER
        return f"{self.name} {','.join(sorted(self.scopes))} {expires} {self.hash}"

    def opens_with(self, secret: str, now: datetime) -> bool:
        """Return whether the secret is this key and the key has not expired."""
        return compare_digest(self.hash, hash_of(secret)) and not self.has_expired(now)

    def has_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


def make_key(name: str, scopes: frozenset[Scope], expires: datetime | None) -> tuple[str, ApiKey]:
    """Generate a new key; return its secret and what is stored about it.

    Raises:
        ValueError: the name is not valid in a keys file.
    """
    secret = new_secret()
    return secret, ApiKey(require_name(name), scopes, expires, hash_of(secret))


def new_secret() -> str:
    """Return a new secret of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    return f"sha256:{sha256(secret.encode()).hexdigest()}"


def read_keys(text: str) -> tuple[tuple[ApiKey, ...], tuple[str, ...]]:
    """Return the keys of a file, and a description of each invalid line."""
    keys: dict[str, ApiKey] = {}
    mistakes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not holds_key(line):
            continue
        try:
            key = ApiKey.read(line)
        except KeyLineError as error:
            mistakes.append(f"line {number}: {error}")
            continue
        if key.name in keys:
            mistakes.append(f"line {number}: there is a key {key.name} already")
        keys.setdefault(key.name, key)
    return tuple(keys.values()), tuple(mistakes)


def holds_key(line: str) -> bool:
    """Return whether a line is neither empty nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def read_scopes(text: str) -> frozenset[Scope]:
    """Parse scopes separated by commas, such as `read,label`.

    Raises:
        ValueError: a word is not a scope.
    """
    return frozenset(map(Scope, text.split(",")))


def require_name(name: str) -> str:
    """Return the name if it is valid in a keys file.

    Raises:
        ValueError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for a key: up to 100 letters, digits and _ . @ -")
    return name


def _read_expiry(text: str) -> datetime | None:
    if text == _NEVER:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
