"""Objects as an object store describes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a listing."""

    key: str
    etag: str
    size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object, as the store describes it."""

    etag: str
    modified_ms: int
    """When the store received it, by the store's clock (epoch ms); 0 if unknown."""
