"""Documents that another account wrote, and that may therefore hold anything.

Every repository decodes what it reads with these functions. A malformed document is left out, counted and
named in the log, so that it keeps no service from the others. Where everything else depends on a single
document, what needs it waits until an administrator has mended it.
"""

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from shotwatch_common import metrics
from shotwatch_common.archive.driver import Document, Undecodable
from shotwatch_shots.errors import Bug, Retry
from shotwatch_shots.pulses import YEAR_10000_MS

T = TypeVar("T")
_MALFORMED = (LookupError, AttributeError, TypeError, ValueError, ArithmeticError, zlib.error, Bug)
"""What the decoding of a malformed document may raise. A decoder reads one document and nothing else."""
_HASHES = frozenset({"fingerprint"})
"""Fields of any 64 bits. All other whole numbers are times, counts and sizes."""
_YEAR_1_MS = -62_135_596_800_000
_LARGEST_INFLATED = 64 << 20
COUNTABLE = {"$gte": 0, "$lt": 1 << 40}
"""The values of a field that a group of documents may sum. Malformed ones would hide the whole group."""
_LONGEST = 200


class _Names:
    """The malformed documents that this process has named in its log, 1000 at most."""

    def __init__(self) -> None:
        self._named: set[tuple[str, str]] = set()

    def is_new(self, collection: str, id_: str) -> bool:
        """Return whether a document is to be named; it counts as named from then on."""
        if (collection, id_) in self._named or len(self._named) >= 1000:
            return False
        self._named.add((collection, id_))
        return True


_NAMES = _Names()


async def readable(
    documents: AsyncIterable[Document], decode: Callable[[Document], T], collection: str
) -> AsyncIterator[T]:
    """Yield what the documents of a collection hold; leave out those that cannot be decoded, and count them.

    An account that may add documents can add any. One of them must not keep a service from the others.

    Args:
        documents: the documents.
        decode: raises KeyError, TypeError, ValueError or another of _MALFORMED for a malformed document.
        collection: name of the collection.
    """
    async for document in documents:
        try:
            decoded = _decoded(document, decode)
        except _MALFORMED as error:
            _report(document, collection, error)
        else:
            yield decoded


async def all_readable(
    documents: AsyncIterable[Document], decode: Callable[[Document], T], collection: str
) -> list[T]:
    """Return what the documents hold, as `readable` yields it."""
    return [each async for each in readable(documents, decode, collection)]


def readable_one(document: Document | None, decode: Callable[[Document], T], collection: str) -> T | None:
    """Return what a document holds; None if there is none, or if it is malformed, which is reported."""
    if document is None:
        return None
    try:
        return _decoded(document, decode)
    except _MALFORMED as error:
        _report(document, collection, error)
        return None


def needed(document: Document | None, decode: Callable[[Document], T], collection: str) -> T | None:
    """Return what a document holds on which others depend; None if there is none.

    Raises:
        Retry: it is malformed. What needs it waits until an administrator has mended it.
    """
    if document is None:
        return None
    try:
        return _decoded(document, decode)
    except _MALFORMED as error:
        why = _report(document, collection, error)
        name = f"document {shown(document.get('_id'))} of the collection {collection}"
        raise Retry(f"{name} is malformed ({why}): an administrator must mend or remove it") from error


def number(value: object) -> int:
    """Return a value that is a whole number.

    Raises:
        TypeError: the value is not a whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{shown(value)} is not a whole number")
    return int(value)


def text(value: object) -> str:
    """Return a value that is a text.

    Raises:
        TypeError: the value is not a text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is not a text")
    return value


def id_of(document: Document) -> str:
    """Return the id of a document.

    Raises:
        TypeError: the id is not a text.
    """
    return text(document["_id"])


def texts(values: object) -> tuple[str, ...]:
    """Return a value that is a list of texts.

    Raises:
        TypeError: the value is not a list, or holds something else.
    """
    if not isinstance(values, list):
        raise TypeError(f"{shown(values)} is not a list")
    return tuple(map(text, values))


def numbers(values: Mapping[str, object]) -> dict[str, int]:
    """Return whole numbers by name.

    Raises:
        TypeError: a value is not a whole number.
    """
    return {name: number(value) for name, value in values.items()}


def inflated(data: bytes) -> bytes:
    """Decompress what a document holds.

    Raises:
        ValueError: it is larger than any that we write (64 MiB), or not complete.
    """
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, _LARGEST_INFLATED)
    if not inflater.eof:
        raise ValueError("not complete, or too large after decompression")
    return content


def shown(value: object) -> str:
    """Return a value for a message, cut to 200 characters."""
    return repr(value)[:_LONGEST] if isinstance(value, str | int | float) else type(value).__name__


def _decoded(document: Document, decode: Callable[[Document], T]) -> T:
    if isinstance(document, Undecodable):
        raise ValueError(str(document.error)) from document.error
    _check_numbers(document.items())
    return decode(document)


def _check_numbers(items: Iterable[tuple[object, object]]) -> None:
    """Check that each whole number is one that can be computed with and shown. Scores may be NaN.

    Raises:
        ValueError: one is too large for a time.
    """
    for name, value in items:
        if isinstance(value, dict):
            _check_numbers(value.items())
        elif isinstance(value, list):
            _check_numbers((name, each) for each in value)
        elif isinstance(value, int) and name not in _HASHES and not _YEAR_1_MS <= value < YEAR_10000_MS:
            raise ValueError(f"{shown(name)} is {value}")


def _report(document: Document, collection: str, error: Exception) -> str:
    """Count a malformed document; log it the first time that this process reads it. Return the reason."""
    metrics.MALFORMED_DOCUMENTS.labels(collection).inc()
    why = f"{type(error).__name__}: {error}"[:_LONGEST]
    id_ = shown(document.get("_id"))
    if _NAMES.is_new(collection, id_):
        structlog.get_logger().warning("malformed document", collection=collection, id=id_, why=why)
    return why
