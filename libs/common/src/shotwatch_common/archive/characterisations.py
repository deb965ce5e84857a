"""What is known of each camera beyond its records: noise models and references, every version of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pymongo.errors import DuplicateKeyError


class CharacterisationKind(StrEnum):
    """What a characterisation is about."""

    NOISE = "noise"
    """Mean and standard deviation of each pixel in the dark."""
    REFERENCE = "reference"
    """What the beam usually looks like."""


@dataclass(frozen=True, slots=True)
class Characterisation:
    """One version of a characterisation of one device; its arrays lie in the object store."""

    device: str
    kind: CharacterisationKind
    version: int
    """From 1, per device and kind."""
    made_at: int
    """Epoch ms."""
    start: int
    """Epoch ms of the first frame that it was made from."""
    end: int
    """Epoch ms of the last one."""
    frames: int
    bucket: str
    key: str
    """NPZ."""


class Characterisations:
    """Collection `characterisations`: `_id` = device, kind and version. A version never changes."""

    def __init__(self, database: Any) -> None:
        self._characterisations = database["characterisations"]

    async def ensure_indexes(self) -> None:
        await self._characterisations.create_index([("device", 1)])

    async def add(self, characterisation: Characterisation) -> bool:
        """Store a version; False when somebody else was faster with that number."""
        document = {
            "_id": _id(characterisation),
            **asdict(characterisation),
            "kind": characterisation.kind.value,
        }
        try:
            await self._characterisations.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def of_device(self, device: str) -> list[Characterisation]:
        """All versions, by kind and number."""
        return await self._found({"device": device})

    async def latest(self) -> list[Characterisation]:
        """The newest version of each kind of each device."""
        newest = {(each.device, each.kind): each for each in await self._found({})}
        return list(newest.values())

    async def _found(self, query: dict[str, Any]) -> list[Characterisation]:
        documents: Sequence[dict[str, Any]] = [
            d async for d in self._characterisations.find(query, {"_id": 0})
        ]
        found = [Characterisation(**{**d, "kind": CharacterisationKind(d["kind"])}) for d in documents]
        return sorted(found, key=lambda each: (each.device, each.kind, each.version))


def _id(characterisation: Characterisation) -> str:
    return f"{characterisation.device}/{characterisation.kind}/{characterisation.version}"
