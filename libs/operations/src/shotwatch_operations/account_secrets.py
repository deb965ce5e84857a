"""Passwords and keys of accounts, each in a file of its own."""

from collections.abc import Iterable
from pathlib import Path

from shotwatch_common.settings import SettingsError

SHORTEST = 8
"""Fewest characters of a password or key that a set-up gives to an account."""


def read_secret(path: Path) -> str:
    """Return the content of a file, without the newline at its end.

    Raises:
        SettingsError: the file is missing, empty or unreadable.
    """
    try:
        secret = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not secret:
        raise SettingsError(f"{path}: the file is empty")
    return secret


def read_secrets(folder: Path | None, accounts: Iterable[str], file: str) -> dict[str, str]:
    """Return account → secret, for those of the accounts that have a file in the folder.

    `file` is the name of the files, such as `database-{}-password`.

    Raises:
        SettingsError: the folder or a file is unreadable, or a secret is shorter than SHORTEST.
    """
    if folder is None:
        return {}
    try:
        present = set(folder.iterdir())
    except OSError as error:
        raise SettingsError(f"{folder}: {error}") from error
    files = {account: folder / file.format(account) for account in accounts}
    return {account: _long_enough(path) for account, path in files.items() if path in present}


def _long_enough(path: Path) -> str:
    secret = read_secret(path)
    if len(secret) < SHORTEST:
        raise SettingsError(f"{path}: {len(secret)} characters, fewer than {SHORTEST}")
    return secret
