"""Documents that another account wrote, and that may therefore hold anything."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

from shotwatch_common import metrics
from shotwatch_common.archive.driver import Document

T = TypeVar("T")


async def readable(
    documents: AsyncIterable[Document], decode: Callable[[Document], T], collection: str
) -> AsyncIterator[T]:
    """Yield what the documents of a collection hold; leave out those that cannot be decoded, and count them.

    An account that may add documents can add any. One of them must not keep a service from the others.

    Args:
        documents: the documents.
        decode: raises KeyError, TypeError, ValueError or OverflowError for a malformed document.
        collection: label of the metric.
    """
    async for document in documents:
        try:
            yield decode(document)
        except (KeyError, TypeError, ValueError, OverflowError):
            metrics.MALFORMED_DOCUMENTS.labels(collection).inc()
