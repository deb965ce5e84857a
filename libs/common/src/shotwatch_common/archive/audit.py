"""The audit: who changed what, through the REST API or from the command line, directly on the servers."""

import os
import pwd
from collections.abc import AsyncIterable, Collection
from dataclasses import asdict, dataclass, fields
from socket import gethostname
from typing import Annotated, TypeVar
from uuid import uuid4

from pydantic import Field, TypeAdapter

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, id_of
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_shots.pulses import YEAR_10000_MS
from shotwatch_shots.vocabulary import ChangeOutcome

MOST_CHARACTERS = 500
"""Maximum length of each text in an audit line. The path of a request may have 60,000 characters."""


T = TypeVar("T")
LineText = Annotated[str, Field(max_length=MOST_CHARACTERS + 1)]
"""A text of a line; one that was cut ends with `…`."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change, or one request for a change."""

    at: Annotated[int, Field(ge=0, lt=YEAR_10000_MS)]
    """Epoch ms."""
    who: LineText
    """Name of the API key, `oidc:` and the token's subject, or `os:` and the operating system's user."""
    what: LineText
    """Name of the operation."""
    which: LineText
    """The thing that was changed; for a request, the request's path."""
    outcome: ChangeOutcome
    status: int | None
    """HTTP status of the response; None if there was no request."""
    trace_id: LineText
    address: LineText = ""
    """The address from which the request came."""
    count: int = 1
    """How many requests this line stands for; more than one only for those that are counted together."""


class Audit:
    """Collection `audit`: one document per line. Documents never change."""

    def __init__(self, database: Database) -> None:
        self._audit = database["audit"]

    async def ensure_indexes(self) -> None:
        await self._audit.create_index([("at", 1)])

    async def add(self, line: AuditLine) -> str:
        """Store a line, with its texts truncated to MOST_CHARACTERS. Return its id."""
        id_ = uuid4().hex
        texts = {name: cut(value) for name, value in asdict(line).items()}
        await self._audit.insert_one({"_id": id_, **texts})
        return id_

    async def note(self, what: str, which: str) -> str:
        """Record a change that this process is about to make itself, on behalf of the user that it runs as.

        The line is written before the change. A crash in between can leave a line without a change, but never
        a change without a line. Return the id of the line.
        """
        line = AuditLine(epoch_now(), _user(), what, which, ChangeOutcome.DONE, None, current_trace_id())
        return await self.add(line)

    async def lines(self, ids: Collection[str]) -> dict[str, AuditLine]:
        """Return those of these lines that exist, by id."""
        found = self._audit.find({"_id": {"$in": sorted(ids)}})
        return await _lines(found)

    async def of_operations(
        self, operations: Collection[str], start_ms: int, end_ms: int, most: int
    ) -> dict[str, AuditLine]:
        """Return the newest `most` lines in [start, end) (epoch ms) about these operations, by id."""
        query = {"at": {"$gte": start_ms, "$lt": end_ms}, "what": {"$in": sorted(operations)}}
        found = self._audit.find(query).sort([("at", -1), ("_id", -1)]).limit(most)
        return await _lines(found)

    async def page(
        self, start_ms: int, end_ms: int, limit: int, newest_first: bool = False
    ) -> dict[str, AuditLine]:
        """Return the lines in [start, end) (epoch ms) by id, sorted by time, then by id.

        A limit of 0 means no limit.
        """
        order = -1 if newest_first else 1
        found = self._audit.find({"at": {"$gte": start_ms, "$lt": end_ms}})
        sorted_lines = found.sort([("at", order), ("_id", order)]).limit(limit)
        return await _lines(sorted_lines)


_line = TypeAdapter(AuditLine)


async def _lines(documents: AsyncIterable[Document]) -> dict[str, AuditLine]:
    """Return the lines that the documents hold, by id."""

    return dict(await all_readable(documents, _with_id, "audit"))


def _with_id(document: Document) -> tuple[str, AuditLine]:
    """Return the id and the line that a document holds. Older documents lack `address` and `count`.

    Raises:
        ValidationError: the document lacks a field of a line, or one is longer than `add` writes it.
    """
    given = {each.name: document[each.name] for each in fields(AuditLine) if each.name in document}
    return id_of(document), _line.validate_python(given)


def cut(value: T) -> T | str:
    """Cut a text to the length that audit lines allow; return any other value unchanged."""
    return f"{value[:MOST_CHARACTERS]}…" if isinstance(value, str) and len(value) > MOST_CHARACTERS else value


def _user() -> str:
    """Return the user of this process, for example `os:amelie@control-room`.

    A user without a name is given by number. Environment variables such as USER are not used: anyone can set
    them.
    """
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return f"os:{name}@{gethostname()}"
