"""What processes ask of the database and the object store, recorded inside each of them.

A process that is started with `recording_as(account)` in its environment imports `sitecustomize` beside this
file first. That appends a line to a file for each action that the process has not taken before.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

Action = tuple[str, str]
"""Where (a collection, or a bucket and the first folder in it) and what."""


@cache
def _temporary() -> TemporaryDirectory[str]:
    """Removed when the tests end."""
    return TemporaryDirectory(prefix="recorded-")


def _folder() -> Path:
    return Path(_temporary().name)


def recording_as(account: str) -> dict[str, str]:
    """Return the environment of a process whose actions count as those of this account."""
    return {"PYTHONPATH": str(Path(__file__).parent), "RECORD_TO": str(_folder()), "RECORD_AS": account}


def recorded(server: str, account: str) -> set[Action]:
    """Return what the processes of an account have asked of a server (`database` or `store`) so far."""
    lines = {line for file in _folder().glob(f"{account}.*") for line in file.read_text().splitlines()}
    split = (line.split("\t") for line in lines)
    return {(where, action) for of, where, action in split if of == server}
