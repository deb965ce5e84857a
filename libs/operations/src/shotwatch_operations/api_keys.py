"""API keys of the REST API: shown once when they are made, kept as hashes, a line for each in a file.

A line reads `name scopes expires hash`, such as `grafana read never sha256:…`; `#` begins a comment.
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
"""Of every key: scanners for leaked secrets find it, and no token begins so."""
_NEVER = "never"
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class KeyLineError(ValueError):
    """A line of a keys file cannot be read; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: never the key itself."""

    name: str
    scopes: frozenset[Scope]
    expires: datetime | None
    """None = never."""
    hash: str
    """`sha256:` and 64 hex digits. A key is 256 random bits: no slow hash is needed."""

    @classmethod
    def read(cls, line: str) -> Self:
        """
        Raises:
            KeyLineError: the line says something else than name, scopes, expiry and hash.
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
        """The key's line in a file."""
        expires = self.expires.isoformat() if self.expires else _NEVER
        return f"{self.name} {','.join(sorted(self.scopes))} {expires} {self.hash}"

    def opens_with(self, secret: str, now: datetime) -> bool:
        """Whether this is the key, and still one."""
        return compare_digest(self.hash, hash_of(secret)) and not self.has_expired(now)

    def has_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


def make_key(name: str, scopes: frozenset[Scope], expires: datetime | None) -> tuple[str, ApiKey]:
    """A new key, and what is kept of it.

    Raises:
        ValueError: the name cannot stand in a keys file.
    """
    secret = new_secret()
    return secret, ApiKey(require_name(name), scopes, expires, hash_of(secret))


def new_secret() -> str:
    """Return a key of 256 random bits that nothing is known of yet."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    return f"sha256:{sha256(secret.encode()).hexdigest()}"


def read_keys(text: str) -> tuple[tuple[ApiKey, ...], tuple[str, ...]]:
    """The keys of a file, and what is wrong with the lines that hold none."""
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
    """Whether a line is neither empty nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def read_scopes(text: str) -> frozenset[Scope]:
    """`read,label`.

    Raises:
        ValueError: a word is no scope.
    """
    return frozenset(map(Scope, text.split(",")))


def require_name(name: str) -> str:
    """
    Raises:
        ValueError: the name cannot stand in a keys file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a key: up to 100 letters, digits and _ . @ -")
    return name


def _read_expiry(text: str) -> datetime | None:
    if text == _NEVER:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
