"""A database in memory, as far as the archive's parts need one in unit tests."""

import operator
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]
_OPERATORS = {
    "$gte": operator.ge,
    "$gt": operator.gt,
    "$lte": operator.le,
    "$lt": operator.lt,
    "$in": lambda value, among: value in among,
    "$nin": lambda value, among: value not in among,
}


class Memory(defaultdict[str, "Collection"]):
    """Collections by their names."""

    def __init__(self) -> None:
        super().__init__(Collection)


@dataclass
class Found:
    """The documents that a query found."""

    documents: list[Document]

    def sort(self, order: Sequence[tuple[str, int]]) -> "Found":
        for name, direction in reversed(order):
            self.documents.sort(key=lambda document: _greatest(document[name]), reverse=direction < 0)
        return self

    def limit(self, most: int) -> "Found":
        return Found(self.documents[: most or None])

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in self.documents:
            yield document


@dataclass
class Collection:
    documents: dict[str, Document] = field(default_factory=dict)

    def find(self, query: Mapping[str, Any], _wanted: object = None) -> Found:
        return Found([document for document in self.documents.values() if _matches(document, query)])

    async def count_documents(self, query: Mapping[str, Any]) -> int:
        return sum(_matches(document, query) for document in self.documents.values())

    async def insert_one(self, document: Document) -> None:
        document = {"_id": f"{len(self.documents):06}", **document}
        if document["_id"] in self.documents:
            raise DuplicateKeyError(document["_id"])
        self.documents[document["_id"]] = document

    async def update_one(self, query: Mapping[str, Any], change: Mapping[str, Document]) -> SimpleNamespace:
        found = [document for document in self.documents.values() if _matches(document, query)]
        for document in found[:1]:
            document.update(change["$set"])
        return SimpleNamespace(matched_count=len(found))


def _matches(document: Document, query: Mapping[str, Any]) -> bool:
    return all(_fits(document.get(name), wanted) for name, wanted in query.items())


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(value, list) and isinstance(wanted, Mapping):
        return any(_fits(each, wanted) for each in value)
    if isinstance(wanted, Mapping):
        return all(
            (operator in ("$in", "$nin") or _comparable(value, bound)) and _OPERATORS[operator](value, bound)
            for operator, bound in wanted.items()
        )
    return bool(value == wanted)


def _greatest(value: Any) -> Any:
    """Return what an array is sorted by, and any other value."""
    return max(value) if isinstance(value, list) else value


def _comparable(value: Any, bound: Any) -> bool:
    """Whether both are numbers, or both are texts: a range finds no values of another type."""
    return isinstance(value, str) == isinstance(bound, str) and value is not None
