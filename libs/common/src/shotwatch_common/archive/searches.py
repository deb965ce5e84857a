"""The searches by value that callers of the API saved."""

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, readable_one
from shotwatch_shots.saved_search import MOST_SEARCHES, NamedSearch, SavedSearch

_NAME = "searches"


class SearchCollection:
    """Collection `searches`: one document per owner and name; `_id` has both, and no name has a slash."""

    def __init__(self, database: Database) -> None:
        self._searches = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._searches.create_index([("owner", 1), ("name", 1)])

    async def of_owner(self, owner: str) -> list[NamedSearch]:
        """Return the searches of an owner by name, MOST_SEARCHES at most."""
        found = self._searches.find({"owner": owner}).sort([("owner", 1), ("name", 1)])
        return await all_readable(found.limit(MOST_SEARCHES), _named, _NAME)

    async def count_others(self, owner: str, name: str) -> int:
        """Return how many searches an owner has under other names."""
        return await self._searches.count_documents({"owner": owner, "name": {"$ne": name}})

    async def find(self, owner: str, name: str) -> NamedSearch | None:
        """Return a search of an owner; None if there is none of this name."""
        document = await self._searches.find_one({"_id": _id(owner, name)})
        return readable_one(document, _named, _NAME)

    async def save(self, owner: str, named: NamedSearch) -> None:
        """Store a search, in place of an earlier one of the same owner and name."""
        search: SavedSearch = named.search
        document = {"owner": owner, "name": named.name, "search": search.model_dump(mode="json")}
        await self._searches.update_one({"_id": _id(owner, named.name)}, {"$set": document}, upsert=True)

    async def remove(self, owner: str, name: str) -> None:
        """Remove a search of an owner; do nothing if there is none of this name."""
        await self._searches.delete_one({"_id": _id(owner, name)})


def _id(owner: str, name: str) -> str:
    return f"{name}/{owner}"


def _named(document: Document) -> NamedSearch:
    return NamedSearch.model_validate({"name": document["name"], "search": document["search"]})
