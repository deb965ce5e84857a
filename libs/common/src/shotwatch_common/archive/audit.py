"""Who asked the REST API for which change."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self
from uuid import uuid4

from shotwatch_common.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One request for a change."""

    at: int
    """Epoch ms."""
    who: str
    """Name of the key, or `oidc:` and the subject of the token."""
    what: str
    """Name of the operation."""
    which: str
    """Path of what it was about."""
    outcome: Outcome
    status: int
    """HTTP status of the answer."""
    trace_id: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{field.name: document[field.name] for field in fields(cls)})


class Audit:
    """Collection `audit`: a document for each request. None is ever changed."""

    def __init__(self, database: Any) -> None:
        self._audit = database["audit"]

    async def ensure_indexes(self) -> None:
        await self._audit.create_index([("at", 1)])

    async def add(self, line: AuditLine) -> None:
        await self._audit.insert_one({"_id": uuid4().hex, **asdict(line)})

    async def page(
        self, start_ms: int, end_ms: int, limit: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """Requests made in [start, end), by time, then by id. Limit 0 is no limit."""
        order = -1 if newest_first else 1
        found = self._audit.find({"at": {"$gte": start_ms, "$lt": end_ms}})
        return [document async for document in found.sort([("at", order), ("_id", order)]).limit(limit)]
