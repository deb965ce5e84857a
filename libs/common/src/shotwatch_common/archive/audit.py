"""Who changed what: by asking the REST API, or from the command line, on the servers directly."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from socket import gethostname
from typing import Any, Self
from uuid import uuid4

from shotwatch_common.pulses import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_common.vocabulary import Outcome

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

    async def add(self, line: AuditLine) -> None:
        """Store a line, its texts cut to MOST_CHARACTERS."""
        document = {name: _cut(value) for name, value in asdict(line).items()}
        await self._audit.insert_one({"_id": uuid4().hex, **document})

    async def note(self, what: str, which: str) -> None:
        """Write down a change that this process is about to make itself, on behalf of the user it runs as.

        Dying then leaves at worst a line of a change that did not happen, never a change without a line.
        """
        await self.add(AuditLine(epoch_now(), _user(), what, which, Outcome.DONE, None, current_trace_id()))

    async def page(
        self, start_ms: int, end_ms: int, limit: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """Lines of [start, end), by time, then by id. Limit 0 is no limit."""
        order = -1 if newest_first else 1
        found = self._audit.find({"at": {"$gte": start_ms, "$lt": end_ms}})
        return [document async for document in found.sort([("at", order), ("_id", order)]).limit(limit)]


def _cut(value: Any) -> Any:
    return f"{value[:MOST_CHARACTERS]}…" if isinstance(value, str) and len(value) > MOST_CHARACTERS else value


def _user() -> str:
    """`os:amelie@control-room`; the number of a user without a name. Variables such as USER say nothing."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return f"os:{name}@{gethostname()}"
