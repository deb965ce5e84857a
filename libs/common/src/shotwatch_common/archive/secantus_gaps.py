"""What SecantusDB 0.7, the database of the embedded stack, lacks of MongoDB.

It gives the same results, but some queries that MongoDB answers from an index read the entire collection
there (ADR 3). Each part of this module names such a query, what happens, and what to write instead. MongoDB
answers the replacement from the same index.
"""

from collections.abc import Mapping, Sequence

from shotwatch_common.archive.driver import Collection, Filter

FIRST_SET = 1
"""Lower bound (`$gte`) of times that are set, where 0 stands for a time that is not set.

Symptom: with the exclusive bound `{"$gt": 0}` SecantusDB reads every document whose time is 0.
"""

_LARGEST = 2**53


def at_least(value: int) -> Filter:
    """Return the operators for numbers of at least `value`, with an upper bound that no number reaches.

    Symptom: a range without an upper bound, together with a limit or a sort, reads the entire collection: 0.8
    s for 40,000 documents, where a bounded range takes 6 ms.
    """
    return {"$gte": value, "$lt": _LARGEST}


async def led_by_index(
    collection: Collection,
    query: Filter,
    ranged: str,
    values: Mapping[str, int],
    indexes: Sequence[Sequence[str]],
) -> Filter:
    """Return a filter for the documents that match `query` and have the field `ranged` in a range.

    Symptom: if a query has a field that is not in a compound index, SecantusDB uses only the first field of
    the index, and reads every document with that value. So one query finds the documents that the index
    yields, and the filter limits the query of the caller to them.

    Args:
        collection: the documents.
        query: fields and their values or operators, without the field `ranged`.
        ranged: the field that is the last one of each index.
        values: the range, as operators.
        indexes: the fields of each compound index before `ranged`, the most selective index first.
    """
    for fields in indexes:
        if set(fields) < set(query):
            indexed = {field: query[field] for field in fields}
            rest = {field: value for field, value in query.items() if field not in fields}
            found = collection.find({**indexed, ranged: values}, {"_id": 1})
            return {"_id": {"$in": [document["_id"] async for document in found]}, **rest}
    return {ranged: values, **query}
