"""What SecantusDB 0.7, the database of the embedded stack, lacks of MongoDB.

It gives the same results, but some queries that MongoDB answers from an index read the entire collection
there (ADR 3). Each part of this module names such a query, what happens, and what to write instead. MongoDB
answers the replacement from the same index.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

from shotwatch_common.archive.driver import Collection, Document, Filter

T = TypeVar("T")

FIRST_SET = 1
"""Lower bound (`$gte`) of times that are set, where 0 stands for a time that is not set.

Symptom: with the exclusive bound `{"$gt": 0}` SecantusDB reads every document whose time is 0.
"""

_LARGEST = 2**53
_SIX_HOURS_MS = 6 * 3_600_000
_MOST_STEPS = 128
_VALUES_AT_ONCE = 50


def steps(start_ms: int, end_ms: int, shortest_ms: int = _SIX_HOURS_MS) -> Iterator[tuple[int, int]]:
    """Yield the parts of the times with start <= t < end (epoch ms): 128 at most, of `shortest_ms` or more.

    By default they suit documents of which there is one a minute. Symptom: a query holds the server's only
    interpreter until it has all its documents, 25 to 50 µs for each.
    """
    length = max(shortest_ms, -(-(end_ms - start_ms) // _MOST_STEPS))
    for begin in range(start_ms, end_ms, length):
        yield begin, min(begin + length, end_ms)


def at_least(value: int) -> Filter:
    """Return the operators for numbers of at least `value`, with an upper bound that no number reaches.

    Symptom: a range without an upper bound, together with a limit or a sort, reads the entire collection: 0.8
    s for 40,000 documents. With both bounds, the embedded server reads what the limit requires.
    """
    return {"$gte": value, "$lt": _LARGEST}


def parts(values: Sequence[T]) -> Iterator[list[T]]:
    """Yield the values of a list for `$in` in parts of 50.

    Symptom: each document that is found is compared with all values of the list, so the cost of a list grows
    with the square of its length. 2,000 documents of 20,000 take 1,060 ms of CPU in parts of 1,000 values,
    570 ms in parts of 500, 110 ms in parts of 50, and not less in shorter ones.
    """
    for n in range(0, len(values), _VALUES_AT_ONCE):
        yield list(values[n : n + _VALUES_AT_ONCE])


async def among(
    collection: Collection, field: str, values: Sequence[str], fields: Filter | None = None
) -> AsyncIterator[Document]:
    """Yield each document once whose field is one of these values, or a list with one of them.

    Any number of values may be passed; see `parts`.

    Args:
        collection: the collection.
        field: name of an indexed field.
        values: without order.
        fields: the fields of the documents that are read; all of them by default.
    """
    found: set[object] = set()
    for some in parts(sorted(set(values))):
        async for document in collection.find({field: {"$in": some}}, fields):
            if document["_id"] not in found:
                found.add(document["_id"])
                yield document
