"""A database in memory, as far as the archive's parts need one in unit tests."""

import operator
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
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
}


class Memory(defaultdict[str, "Collection"]):
    """Collections by their names."""

    def __init__(self) -> None:
        super().__init__(Collection)


@dataclass
class Collection:
    documents: dict[str, Document] = field(default_factory=dict)

    async def find(self, query: Mapping[str, Any], _wanted: object = None) -> AsyncIterator[Document]:
        for document in list(self.documents.values()):
            if _matches(document, query):
                yield document

    async def count_documents(self, query: Mapping[str, Any]) -> int:
        return sum(_matches(document, query) for document in self.documents.values())

    async def insert_one(self, document: Document) -> None:
        if document["_id"] in self.documents:
            raise DuplicateKeyError(document["_id"])
        self.documents[document["_id"]] = document

    async def update_one(self, query: Mapping[str, Any], change: Mapping[str, Document]) -> SimpleNamespace:
        found = [document for document in self.documents.values() if _matches(document, query)]
        for document in found[:1]:
            document.update(change["$set"])
        return SimpleNamespace(matched_count=len(found))


def _matches(document: Document, query: Mapping[str, Any]) -> bool:
    return all(name in document and _fits(document[name], wanted) for name, wanted in query.items())


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return all(_OPERATORS[sign](value, bound) for sign, bound in wanted.items())
    return bool(value == wanted)
