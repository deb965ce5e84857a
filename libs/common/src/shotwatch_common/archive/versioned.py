"""Compare-and-set: a document is changed only by a process that has read its latest version."""

from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Collection, Document


async def save_version(collection: Collection, document: Document) -> bool:
    """Write version n over version n - 1, or the first version.

    Return False if another process has changed the document since it was read.
    """
    if document["version"] == 1:
        try:
            await collection.insert_one(document)
        except DuplicateKeyError:
            return False
        return True
    before = {"_id": document["_id"], "version": document["version"] - 1}
    changes = {name: value for name, value in document.items() if name != "_id"}
    result = await collection.update_one(before, {"$set": changes})
    return bool(result.modified_count)
