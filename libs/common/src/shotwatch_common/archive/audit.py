"""Who changed what: by asking the REST API, or from the command line, on the servers directly."""

import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from socket import gethostname
from typing import Any, Self
from uuid import uuid4

from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_shots.pulses import YEAR_10000_MS
from shotwatch_shots.vocabulary import Outcome

MOST_CHARACTERS = 500
"""Of each text of a line. The path of a request may have 60,000."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change, or request for one."""

    at: int
    """Epoch ms."""
    who: str
    """Name of the key, `oidc:` and the subject of the token, or `os:` and the operating system's user."""
    what: str
    """Name of the operation."""
    which: str
    """What it was about; of a request, its path."""
    outcome: Outcome
    status: int | None
    """HTTP status of the answer; None where no request was made."""
    trace_id: str
    address: str = ""
    """From which a request came."""
    count: int = 1
    """How many requests it stands for: more than one only if they were refused."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Older documents have neither address nor count."""
        return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})


class Audit:
    """Collection `audit`: a document for each line. None is ever changed."""

    def __init__(self, database: Any) -> None:
        self._audit = database["audit"]

    async def ensure_indexes(self) -> None:
        await self._audit.create_index([("at", 1)])

    async def add(self, line: AuditLine) -> str:
        """Store a line, its texts cut to MOST_CHARACTERS; return its id."""
        document = {name: cut(value) for name, value in asdict(line).items()}
        id_ = uuid4().hex
        await self._audit.insert_one({"_id": id_, **document})
        return id_

    async def note(self, what: str, which: str) -> str:
        """Write down a change that this process is about to make itself, on behalf of the user it runs as.

        Dying then leaves at worst a line of a change that did not happen, never a change without a line.
        Return the id of the line.
        """
        line = AuditLine(epoch_now(), _user(), what, which, Outcome.DONE, None, current_trace_id())
        return await self.add(line)

    async def lines(self, ids: Collection[str]) -> dict[str, AuditLine]:
        """Return those of these lines that exist, by id."""
        found = self._audit.find({"_id": {"$in": sorted(ids)}})
        return {document["_id"]: AuditLine.of(document) async for document in found if _is_line(document)}

    async def of_operations(
        self, operations: Collection[str], start_ms: int, end_ms: int, most: int
    ) -> dict[str, AuditLine]:
        """Return the newest lines of [start, end) about these operations, by id."""
        query = {"at": {"$gte": start_ms, "$lt": end_ms}, "what": {"$in": sorted(operations)}}
        found = self._audit.find(query).sort([("at", -1), ("_id", -1)]).limit(most)
        return {document["_id"]: AuditLine.of(document) async for document in found if _is_line(document)}

    async def page(
        self, start_ms: int, end_ms: int, limit: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """Lines of [start, end), by time, then by id. Limit 0 is no limit."""
        order = -1 if newest_first else 1
        found = self._audit.find({"at": {"$gte": start_ms, "$lt": end_ms}})
        return [document async for document in found.sort([("at", order), ("_id", order)]).limit(limit)]


_EVERY_LINE_HAS = frozenset(field.name for field in fields(AuditLine) if field.default is MISSING)


def _is_line(document: Mapping[str, Any]) -> bool:
    """Return whether a document has what every line has; who may add lines can add other documents."""
    at, texts = document.get("at"), (document.get(name) for name in ("who", "what", "which"))
    is_dated = isinstance(at, int) and 0 <= at < YEAR_10000_MS
    return is_dated and document.keys() >= _EVERY_LINE_HAS and all(isinstance(text, str) for text in texts)


def cut(value: Any) -> Any:
    """Return a text as a line of the audit has it, and other values as they are."""
    return f"{value[:MOST_CHARACTERS]}…" if isinstance(value, str) and len(value) > MOST_CHARACTERS else value


def _user() -> str:
    """`os:amelie@control-room`; the number of a user without a name. Variables such as USER say nothing."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return f"os:{name}@{gethostname()}"
