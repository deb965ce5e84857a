"""SecantusDB's storage, with less work for each write (docs/adr/0037).

For one update, SecantusDB 0.7 reads the definitions of the collection's indexes from its tables six to eight
times, and it deletes and writes the entries of all indexes, also of those whose fields did not change. For a
collection with seven indexes that is two thirds of the update. Here the definitions stay in memory between
commands, and an update changes only the entries that differ. The tables hold the same as with SecantusDB's
own class (tests/unit/test_secantus_storage.py compares them).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from secantus import storage as own
from secantus.sortkey import encode_value_directed
from secantus.storage import (
    _IDX_TABLE,
    Storage,
    _doc_makes_multikey,
    _geo_type_of,
    _index_key_variants,
)

Document = Mapping[str, object]
Index = tuple[str, Mapping[str, object], bool, bool]
"""Name, fields, and whether it is sparse and unique."""
Definition = tuple[str, Mapping[str, object], Mapping[str, object]]
"""Name, fields and options of an index, as they are stored."""
_MOST_KEPT = 4096
_LONGEST_KEPT = 128
"""Length up to which the code of a text is kept, in characters."""


class LeanStorage(Storage):  # type: ignore[misc]  # it has no types
    """The storage of a server whose commands run within `command`, and which flushes the log after each.

    While a command changes definitions, all commands read them from the tables. A command keeps what it read
    in memory only if no definition has changed since it began, because it may have read the earlier ones.
    """

    def __init__(self, *arguments: object, **options: object) -> None:
        self._definitions: dict[tuple[str, str], Sequence[Definition]] = {}
        self._definitions_lock = threading.Lock()
        self._definitions_version = 0
        self._redefining = 0
        """Number of commands in progress that change definitions."""
        super().__init__(*arguments, **options)

    @contextmanager
    def command(self) -> Iterator[None]:
        """Execute one command of a client in this thread."""
        self._tls.definitions_version = self._definitions_version
        self._tls.redefines = False
        try:
            yield
        finally:
            if self._tls.redefines:
                with self._definitions_lock:
                    self._redefining -= 1
                    self._definitions_version += 1
                    self._definitions.clear()
            self._tls.definitions_version = None

    def _cursor(self, table: str, *, overwrite: bool = True) -> object:
        """Return a cursor. Whoever opens one on the definitions may change them, except `_iter_indexes`."""
        if table == _IDX_TABLE and not getattr(self._tls, "reads_definitions", False):
            self._note_redefinition()
        return super()._cursor(table, overwrite=overwrite)

    def _note_redefinition(self) -> None:
        """Mark the current command as one that may change definitions.

        Outside commands, only the start changes definitions. If it does, none is kept in memory.
        """
        if not getattr(self._tls, "redefines", False):
            self._tls.redefines = True
            with self._definitions_lock:
                self._redefining += 1

    def _iter_indexes(self, db: str, coll: str) -> Sequence[Definition]:
        if self._redefining:
            return self._read_definitions(db, coll)
        known = self._definitions.get((db, coll))
        if known is None:
            known = self._read_definitions(db, coll)
            with self._definitions_lock:
                begun_at = getattr(self._tls, "definitions_version", None)
                if begun_at == self._definitions_version and not self._redefining:
                    self._definitions[db, coll] = known
        return known

    def _read_definitions(self, db: str, coll: str) -> Sequence[Definition]:
        self._tls.reads_definitions = True
        try:
            return tuple(super()._iter_indexes(db, coll))
        finally:
            self._tls.reads_definitions = False

    def _batch_transaction(self, **_of_client: object) -> object:
        """Begin a transaction whose commit does not wait for the disk, although the client asks for that.

        The commit holds the lock of the collection, and each statement of a command commits. The server waits
        once, after the command, and without the lock.
        """
        return super()._batch_transaction(sync=False)

    def _maybe_mark_multikey(
        self, db: str, coll: str, doc: Document, indexes: Sequence[Index], already_multikey: set[str]
    ) -> object:
        """Mark the indexes in which a document is the first with a list; open no cursor if there are none."""
        if any(name not in already_multikey and _doc_makes_multikey(doc, keys) for name, keys, *_ in indexes):
            return super()._maybe_mark_multikey(db, coll, doc, indexes, already_multikey)
        return already_multikey

    def _update_matching_single_txn(self, *arguments: object, **options: object) -> object:
        with self._updating():
            return super()._update_matching_single_txn(*arguments, **options)

    def _update_chunk(self, *arguments: object, **options: object) -> object:
        with self._updating():
            return super()._update_chunk(*arguments, **options)

    @contextmanager
    def _updating(self) -> Iterator[None]:
        """Leave the index entries of a document in place until its new version is known."""
        self._tls.updating, self._tls.outdated = True, None
        try:
            yield
        finally:
            self._tls.updating, self._tls.outdated = False, None

    def _enforce_capped_bounds_locked(self, *arguments: object, **options: object) -> object:
        """Delete documents at the end of an update: these have no new version."""
        self._tls.updating = False
        return super()._enforce_capped_bounds_locked(*arguments, **options)

    def _delete_index_entries(
        self,
        db: str,
        coll: str,
        doc: Document,
        indexes: Sequence[Index],
        partials: Document | None = None,
        *,
        recordid: int,
    ) -> None:
        if getattr(self._tls, "updating", False):
            self._tls.outdated = recordid, doc  # `_write_index_entries` comes next, with the new version
        else:
            super()._delete_index_entries(db, coll, doc, indexes, partials, recordid=recordid)

    def _write_index_entries(
        self,
        db: str,
        coll: str,
        doc: Document,
        indexes: Sequence[Index],
        partials: Document | None = None,
        *,
        recordid: int,
    ) -> None:
        # After a write conflict, SecantusDB repeats the update, perhaps with another document.
        of_record, outdated = getattr(self._tls, "outdated", None) or (None, None)
        if of_record == recordid and outdated is not None:
            changed = [index for index in indexes if _differ(index, outdated, doc, partials or {})]
            super()._delete_index_entries(db, coll, outdated, changed, partials, recordid=recordid)
            indexes = changed
        super()._write_index_entries(db, coll, doc, indexes, partials, recordid=recordid)


def _differ(index: Index, before: Document, after: Document, partials: Document) -> bool:
    """Return whether an index may have other entries for the second document than for the first one."""
    name, keys, sparse, _ = index
    if name in partials or _geo_type_of(keys) is not None:
        return True
    if all(_is_unchanged(path, before, after) for path in keys):
        return False
    entries_before, entries_after = (
        _index_key_variants(document, keys, sparse=sparse) for document in (before, after)
    )
    return bool(entries_before != entries_after)


def _is_unchanged(path: str, before: Document, after: Document) -> bool:
    """Return whether both documents have the same text or whole number at a path, in the same type.

    To compare two values takes far less time than to encode them. True equals 1, but has another code.
    """
    one, other = _value_at(path, before), _value_at(path, after)
    return type(one) is type(other) and isinstance(one, str | int) and one == other


def _value_at(path: str, document: Document) -> object:
    """Return the value at a path of names, each in the document of the name before; None if it is absent."""
    value: object = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def keep_codes() -> None:
    """Let SecantusDB keep what it encodes for indexes."""
    own.encode_value_directed = Codes()


class Codes:
    """The codes of values in indexes, as SecantusDB makes them. Those of short texts and numbers are kept.

    A shot's time is in six index entries, and its place and marks are those of the other shots.
    """

    def __init__(self) -> None:
        self._kept = lru_cache(maxsize=_MOST_KEPT)(encode_value_directed)

    def __call__(self, value: object, direction: int = 1, *, collation: object = None) -> bytes:
        is_kept = type(value) is int or (type(value) is str and len(value) <= _LONGEST_KEPT)
        if is_kept and collation is None:
            code: bytes = self._kept(value, direction)
        else:
            code = encode_value_directed(value, direction, collation=collation)
        return code
