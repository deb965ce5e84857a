"""SecantusDB's storage, which reads no more documents than a limited query returns (docs/adr/0039).

SecantusDB 0.7 reads and decodes every document of a range of an index, and then applies the limit: 25 to 50
µs for each, in its only interpreter. So the first of 100,000 documents takes 2 s. Here the walk through the
index ends once it has enough entries, as in MongoDB. All else is SecantusDB's: the results are the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secantus.storage import _ENTRY_SEP, _IDX_ENTRIES_TABLE, _escape_kb, _unpack_entry, wt

from shotwatch_embedded.servers.secantus_storage import LeanStorage

_LOWER, _UPPER = ("$gt", "$gte"), ("$lt", "$lte")
_AFTER_ALL = b"\xff" * 16
"""Greater than what follows the separator of an index entry."""


@dataclass(frozen=True, slots=True)
class _Page:
    """The beginning of a range that a query returns."""

    fields: int
    """Number of fields of the filter, the range included."""
    entries: int
    descending: bool


class LimitedStorage(LeanStorage):
    """SecantusDB's storage. Of a range that is sorted and limited, it reads what the query returns."""

    def find_matching(
        self,
        db: str,
        coll: str,
        filter: dict[str, Any] | None = None,  # noqa: A002 - SecantusDB's name
        *,
        skip: int = 0,
        limit: int = 0,
        sort: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> list[dict[str, Any]]:
        """Return the documents that SecantusDB returns."""
        limited = limit > 0 and not named.get("collation")
        self._tls.page = _page_of(filter or {}, sort or {}, skip + limit) if limited else None
        try:
            found: list[dict[str, Any]] = super().find_matching(
                db, coll, filter, skip=skip, limit=limit, sort=sort, **named
            )
        finally:
            self._tls.page = None
        return found

    def _range_scan_index(
        self,
        db: str,
        coll: str,
        name: str,
        lower: bytes | None,
        lower_inclusive: bool,
        upper: bytes | None,
        upper_inclusive: bool,
        *,
        prefix: bytes | None = None,
    ) -> list[int]:
        """Return the record ids of a range in the order of the index; of a page, no more than it needs.

        SecantusDB falls back to the index of one field if no index has all fields of the filter. Then it must
        read the whole range.
        """
        page: _Page | None = getattr(self._tls, "page", None)
        if page is None or lower is None or upper is None or not self._is_exact(db, coll, name, page.fields):
            ids: list[int] = super()._range_scan_index(
                db, coll, name, lower, lower_inclusive, upper, upper_inclusive, prefix=prefix
            )
            return ids
        low, high = (_escape_kb(lower), lower_inclusive), (_escape_kb(upper), upper_inclusive)
        (near, near_inclusive), (far, far_inclusive) = (high, low) if page.descending else (low, high)
        found, latest = list[int](), b""
        for key, record in self._entries(db, coll, name, near, page.descending):
            if key == near and not near_inclusive:
                continue
            beyond = key < far if page.descending else key > far
            # Entries with an equal key are read to the last: the query may sort them by other fields.
            if beyond or (key == far and not far_inclusive) or (len(found) >= page.entries and key != latest):
                break
            found.append(record)
            latest = key
        return found[::-1] if page.descending else found

    def _is_exact(self, db: str, coll: str, name: str, fields: int) -> bool:
        """Return whether an index has this number of fields, all ascending, and no arrays."""
        indexes: dict[str, dict[str, int]] = {each: keys for each, keys, *_ in self._all_indexes(db, coll)}
        keys = indexes[name]
        ascending = all(direction == 1 for direction in keys.values())
        return len(keys) == fields and ascending and not self.index_is_multikey(db, coll, name)

    def _entries(
        self, db: str, coll: str, name: str, start: bytes, descending: bool
    ) -> Iterator[tuple[bytes, int]]:
        """Yield key and record id of the entries of an index, from a key on."""
        cursor: Any = self._cursor(_IDX_ENTRIES_TABLE)
        cursor.set_key(db, coll, name, start + _ENTRY_SEP + (_AFTER_ALL if descending else b""))
        step = cursor.prev if descending else cursor.next
        near = cursor.search_near()
        if near == wt.WT_NOTFOUND or ((near > 0 if descending else near < 0) and step() != 0):
            return
        while True:
            *index, packed = cursor.get_key()
            if index != [db, coll, name]:
                return
            key, record = _unpack_entry(bytes(packed))
            if record is not None:
                yield key, record
            if step() != 0:
                return


def _page_of(query: Mapping[str, Any], sort: Mapping[str, Any], entries: int) -> _Page | None:
    """Return the page that a query returns of a range in an index; None if it returns no such page.

    One field has a lower and an upper bound, both numbers or both texts; it is the first to sort by. All
    other fields equal a value.
    """
    ranges = {field: value for field, value in query.items() if isinstance(value, Mapping)}
    if len(ranges) != 1 or any(field.startswith("$") for field in query):
        return None
    [(field, bounds)] = ranges.items()
    by, direction = next(iter(sort.items()), (field, 1))
    if by != field or direction not in (1, -1) or not _is_bounded(bounds):
        return None
    return _Page(len(query), entries, direction == -1)


def _is_bounded(bounds: Mapping[str, Any]) -> bool:
    each_once = [sum(name in bounds for name in names) for names in (_LOWER, _UPPER)] == [1, 1]
    values = list(bounds.values())
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return len(values) == 2 and each_once and (numbers or all(isinstance(value, str) for value in values))
