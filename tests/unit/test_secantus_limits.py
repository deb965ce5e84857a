"""The embedded database's storage: limited queries read what they return, and return what SecantusDB does."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secantus.storage import Storage

from shotwatch_embedded.servers.secantus_limits import LimitedStorage

DATABASE, COLLECTION, DOCUMENTS = "shotwatch", "things", 400
INDEXES = ({"time": 1}, {"place": 1, "time": 1}, {"name": 1}, {"tags": 1}, {"late": -1})


class CountingStorage(LimitedStorage):
    """The storage, which counts the documents that it reads through an index."""

    documents_read = 0

    def _docs_by_recordids(self, db: str, coll: str, recordids: list[int]) -> list[dict[str, Any]]:
        self.documents_read += len(recordids)
        found: list[dict[str, Any]] = super()._docs_by_recordids(db, coll, recordids)
        return found


def document(n: int) -> dict[str, Any]:
    """Return a document. Four have the same time; some times are negative, fractions or texts."""
    unusual = {0: -n, 5: n / 8, 10: str(n)}
    return {
        "_id": f"{n * 7 % DOCUMENTS:03}",
        "time": unusual.get(n % 20, n // 4),
        "place": ("LA", "LB", "LC")[n % 3],
        "name": f"file {n % 50:02}" + "\0" * (n % 2),
        "tags": [n % 3, n % 7],
        "late": n % 40,
    }


@pytest.fixture(scope="module")
def storages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Storage, CountingStorage]]:
    """SecantusDB's storage and ours, with the same documents."""
    both = [kind(str(tmp_path_factory.mktemp("storage"))) for kind in (Storage, CountingStorage)]
    for storage in both:
        for n, keys in enumerate(INDEXES):
            storage.create_index(DATABASE, COLLECTION, f"index {n}", keys)
        storage.insert(DATABASE, COLLECTION, map(document, range(DOCUMENTS)))
    yield both[0], both[1]
    for storage in both:
        storage.close()


NUMBERS = st.one_of(st.integers(-110, 110), st.floats(-60, 60))
NAMES = st.builds("file {:02}{}".format, st.integers(-1, 51), st.sampled_from(["", "\0", "\0a", "\1"]))


def ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make ranges with two bounds or one."""
    lower = st.tuples(st.sampled_from(["$gt", "$gte"]), values)
    upper = st.tuples(st.sampled_from(["$lt", "$lte"]), values)
    return st.one_of(st.tuples(lower, upper), st.tuples(lower), st.tuples(upper)).map(dict)


QUERIES = st.one_of(
    st.fixed_dictionaries({"time": ranges(NUMBERS)}, optional={"place": st.sampled_from(["LA", "LX"])}),
    st.fixed_dictionaries({"name": ranges(NAMES)}, optional={"late": st.integers(0, 40)}),
    st.fixed_dictionaries({"time": ranges(NUMBERS), "late": ranges(NUMBERS)}),
    st.fixed_dictionaries({"tags": ranges(NUMBERS)}),
    st.fixed_dictionaries({"late": ranges(NUMBERS)}),
)
SORTS = st.lists(
    st.tuples(st.sampled_from(["time", "name", "_id", "late", "tags"]), st.sampled_from([1, -1])), max_size=3
).map(dict)


@given(query=QUERIES, sort=SORTS, limit=st.integers(0, 12), skip=st.integers(0, 5))
def test_a_query_returns_what_secantusdb_returns(
    storages: tuple[Storage, CountingStorage],
    query: dict[str, Any],
    sort: dict[str, int],
    limit: int,
    skip: int,
) -> None:
    theirs, ours = (
        storage.find_matching(DATABASE, COLLECTION, dict(query), sort=sort, limit=limit, skip=skip)
        for storage in storages
    )
    assert ours == theirs


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("fields", [("time",), ("time", "_id")])
@pytest.mark.parametrize("equal", [{}, {"place": "LA"}])
def test_a_limited_query_reads_what_it_returns_and_what_has_the_same_time(
    storages: tuple[Storage, CountingStorage], equal: dict[str, Any], fields: tuple[str, ...], direction: int
) -> None:
    _, storage = storages
    storage.documents_read = 0
    query = {"time": {"$gte": -1000, "$lt": 1000}, **equal}
    sort = dict.fromkeys(fields, direction)
    found = storage.find_matching(DATABASE, COLLECTION, query, sort=sort, limit=5)
    assert len(found) == 5
    assert storage.documents_read < 10
