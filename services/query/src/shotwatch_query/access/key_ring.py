"""The current content of the keys file."""

from datetime import UTC, datetime
from pathlib import Path

import structlog

from shotwatch_common.settings import SettingsError
from shotwatch_operations.api_keys import ApiKey, read_keys

_Version = tuple[int, int, int]


class KeyRing:
    """The keys of a file, which is read again when it has changed: a removed key is invalid at once.

    Raises:
        SettingsError: at the start, the file cannot be read in full. Later, a line that cannot be read holds
            no key and is logged; a missing file holds no keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._now()
        try:
            self._keys, mistakes = read_keys(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"SHOTWATCH_QUERY_KEYS_FILE: {path} cannot be read: {error}") from None
        if mistakes:
            raise SettingsError(f"SHOTWATCH_QUERY_KEYS_FILE: {path}, {'; '.join(mistakes)}")

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret; None if it is unknown or expired."""
        self._refresh()
        now = datetime.now(UTC)
        fitting = [key for key in self._keys if key.opens_with(secret, now)]
        return fitting[0] if fitting else None

    def _refresh(self) -> None:
        version = self._now()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys, mistakes = read_keys(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            self._keys, mistakes = (), (str(error),)
        log = structlog.get_logger()
        log.info("keys read again", keys=len(self._keys))
        for mistake in mistakes:
            log.error("not a key", file=str(self._path), why=mistake)

    def _now(self) -> _Version | None:
        """Return what changes with the file, also when a mounted secret is replaced by another."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
