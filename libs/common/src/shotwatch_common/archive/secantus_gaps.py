"""What SecantusDB 0.7, the database of the embedded stack, lacks of MongoDB.

It gives the same results, but some queries that MongoDB answers from an index read the entire collection
there (ADR 3). Each part of this module names such a query, what happens, and what to write instead. MongoDB
answers the replacement from the same index.
"""

from collections.abc import Iterator

from shotwatch_common.archive.driver import Filter

FIRST_SET = 1
"""Lower bound (`$gte`) of times that are set, where 0 stands for a time that is not set.

Symptom: with the exclusive bound `{"$gt": 0}` SecantusDB reads every document whose time is 0.
"""

_LARGEST = 2**53
_SIX_HOURS_MS = 6 * 3_600_000
_MOST_STEPS = 128


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
