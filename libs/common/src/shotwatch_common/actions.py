"""The actions that an account may have a right to, in the database and in the object store."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class DocumentAction(StrEnum):
    """An action on a collection, by MongoDB's name. An upsert needs `update` and `insert`."""

    FIND = "find"
    INSERT = "insert"
    UPDATE = "update"
    REMOVE = "remove"


class ObjectAction(StrEnum):
    """An action on a bucket.

    In stores such as Amazon's, reading needs LIST as well: without it, the store reports a missing object as
    access denied.
    """

    LIST = "list"
    READ = "read"
    WRITE = "write"
    REMOVE = "remove"


DocumentRights = Mapping[str, frozenset[DocumentAction]]
"""Collection → what an account may do there."""
ObjectRights = Mapping[str, frozenset[ObjectAction]]
"""Bucket, or bucket and folder (`data/calibration_constants/`) → what an account may do there.

Buckets have their default names here: `data` stands for the data bucket.
"""
AnyAction = TypeVar("AnyAction", bound=StrEnum)


def collections(rights: Mapping[str, str]) -> DocumentRights:
    """Return rights on collections, given as words: `{"objects": "find insert"}`."""
    return _parsed(DocumentAction, rights)


def buckets(rights: Mapping[str, str]) -> ObjectRights:
    """Return rights on buckets, given as words: `{"inbox": "list read"}`."""
    return _parsed(ObjectAction, rights)


def _parsed(kind: type[AnyAction], rights: Mapping[str, str]) -> dict[str, frozenset[AnyAction]]:
    return {place: frozenset(map(kind, actions.split())) for place, actions in rights.items()}
