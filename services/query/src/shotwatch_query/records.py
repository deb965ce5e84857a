"""Records of shots, read from their blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any

from numpy.typing import NDArray

from shotwatch_common.store import ObjectGone, ObjectTooLarge
from shotwatch_query.errors import NotFound
from shotwatch_query.members import find_member
from shotwatch_query.reservation import Reservation
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import MemberRecord
from shotwatch_shots.pulses import instant


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of a shot, read from its block. It does not keep the block, which may be large, in memory."""

    shot: str
    member: MemberRecord
    block_key: str
    row: int
    time: datetime
    state: str | None
    readable: bool
    arrays: Mapping[str, NDArray[Any]]
    """Column name → the values of this record."""

    def array(self, name: str) -> NDArray[Any]:
        """Return an array of the record.

        Raises:
            NotFound: the device has no such array, or it could not be read in this record.
        """
        if name not in self.arrays:
            raise NotFound(f"{self.member.device} records no {name}")
        if not self.readable:
            raise NotFound(f"the {name} of {self.member.device} could not be read: {self.member.verdict}")
        return self.arrays[name]


async def find_record(sources: ApiSources, room: Reservation, shot: str, device: str) -> StoredRecord:
    """Return the record of a device in a shot; reserve the memory for its response before.

    Raises:
        NotFound: there is none (any more), or its block cannot be read.
        TooMany, Unavailable: there is no memory for the response.
    """
    await room.values(values_of_record(sources, device))
    return await read_record(sources, shot, await find_member(sources, shot, device))


async def read_record(sources: ApiSources, shot: str, member: MemberRecord) -> StoredRecord:
    """Return the record of a member of a shot, for which the caller has reserved memory.

    Raises:
        NotFound: there is none (any more), or its block cannot be read.
    """
    device, ref, row = member.device, member.block, member.row
    most = values_of_record(sources, device)
    if ref is None or row is None:
        raise NotFound(f"{device} has no record in shot {shot}")
    try:
        block = await sources.blocks.read(ref)
    except ObjectGone as error:
        raise NotFound(
            f"the block {ref.key} has expired: put {ref.object_key} into the inbox again to make it anew"
        ) from error
    except (ObjectTooLarge, ValueError) as error:
        raise NotFound(f"the block {ref.key} cannot be read: {error}") from error
    if row >= len(block.time):
        raise NotFound(f"the block {ref.key} has {len(block.time)} records, not the {row + 1} that it had")
    arrays = {name: array[row] for name, array in block.arrays.items()}
    if sum(array.size for array in arrays.values()) > most:
        raise NotFound(f"a record in the block {ref.key} is larger than one of {device} may be")
    return StoredRecord(
        shot=shot,
        member=member,
        block_key=ref.key,
        row=row,
        time=instant(int(block.time[row])),
        state=block.state[row],
        readable=bool(block.readable[row]),
        arrays={name: array.copy() for name, array in arrays.items()},  # a view would keep the whole block
    )


def values_of_record(sources: ApiSources, device: str) -> int:
    """Return how many numbers a record of a device has, besides its state."""
    return sum(prod(dataset.shape) for dataset in sources.facility.device_type(device).datasets)
