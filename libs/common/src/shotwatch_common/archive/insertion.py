"""Insertion of documents of which some may exist already."""

from collections.abc import Sequence

from pymongo.errors import BulkWriteError

from shotwatch_common.archive.driver import Collection, Document

_DUPLICATE_KEY = 11000


async def insert_new(collection: Collection, documents: Sequence[Document]) -> bool:
    """Insert the documents that do not exist yet; return whether all of them were new.

    A document that exists stays unchanged.
    """
    if not documents:
        return True
    try:
        await collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        # The other documents are stored, because the insert is not ordered.
        if any(each["code"] != _DUPLICATE_KEY for each in (error.details or {}).get("writeErrors", [])):
            raise
        return False
    return True
