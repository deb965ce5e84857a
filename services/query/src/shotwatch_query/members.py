"""The members of a shot: the record of each device, and its location."""

from dataclasses import dataclass

from shotwatch_query.errors import NotFound
from shotwatch_query.listing import Document
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import ABSENT, Member
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.vocabulary import DeviceKind


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """The part of one device in one shot; block and row are None if it is missing."""

    device: str
    kind: DeviceKind
    verdict: str
    """`valid`, `missing`, or the reason of its refusal."""
    on: bool
    block: BlockRef | None
    row: int | None


async def find_shot(sources: ApiSources, shot: str) -> Document:
    """Return the document of a shot.

    Raises:
        NotFound: there is no such shot.
    """
    document = await sources.archive.shots.find(shot)
    if document is None:
        raise NotFound(f"there is no shot {shot}")
    return document


async def members_of(sources: ApiSources, shot: Document) -> list[MemberRecord]:
    """Return the members as they were when the shot's newest revision was closed.

    Raises:
        NotFound: the members are no longer stored.
    """
    batch = await sources.archive.batches.find(shot["batch"])
    if batch is None:
        raise NotFound(f"the members of shot {shot['_id']} are no longer kept")
    return [_record(member, shot["index"]) for member in batch.members]


async def find_member(sources: ApiSources, shot: str, device: str) -> MemberRecord:
    """Return the member of a shot for this device.

    Raises:
        NotFound: there is no such shot, or the device does not belong to it.
    """
    members = await members_of(sources, await find_shot(sources, shot))
    for member in members:
        if member.device == device:
            return member
    raise NotFound(f"no device {device} belongs to shot {shot}")


def _record(member: Member, shot: int) -> MemberRecord:
    source, verdict = member.source[shot], member.verdict[shot]
    if source == ABSENT:
        return MemberRecord(member.device, member.kind, "missing", member.on[shot], None, None)
    said = "valid" if verdict == VALID else member.reasons[verdict - 1]
    return MemberRecord(
        member.device, member.kind, said, member.on[shot], member.blocks[source], member.row[shot]
    )
