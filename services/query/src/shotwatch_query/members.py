"""The members of a shot: the record of each device, and its location."""

from pydantic import Field

from shotwatch_query.errors import NotFound
from shotwatch_query.listing import Document
from shotwatch_query.schema import DEVICE, Schema
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import ABSENT, Member
from shotwatch_shots.records import VALID
from shotwatch_shots.vocabulary import DeviceKind


class ShotMember(Schema):
    """The part of one device in a shot."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    verdict: str = Field(
        description="`valid`, `missing`, or the reason of its refusal.", examples=["valid", "black_frame"]
    )
    on: bool = Field(description="Whether the device was last known to be ON.")
    bucket: str | None = Field(exclude=True)
    """The bucket that holds the block."""
    block: str | None = Field(description="Key of the block that holds the record; null when it is missing.")
    row: int | None = Field(description="Row of the record in its block.")
    raw_object: str | None = Field(description="Key of the object from which the block was made.")


async def find_shot(sources: ApiSources, shot: str) -> Document:
    """Return the document of a shot.

    Raises:
        NotFound: there is no such shot.
    """
    document = await sources.archive.shots.find(shot)
    if document is None:
        raise NotFound(f"there is no shot {shot}")
    return document


async def members_of(sources: ApiSources, shot: Document) -> list[ShotMember]:
    """Return the members as they were when the shot's newest revision was closed.

    Raises:
        NotFound: the members are no longer stored.
    """
    batch = await sources.archive.batches.find(shot["batch"])
    if batch is None:
        raise NotFound(f"the members of shot {shot['_id']} are no longer kept")
    return [_record(member, shot["index"]) for member in batch.members]


async def find_member(sources: ApiSources, shot: str, device: str) -> ShotMember:
    """Return the member of a shot for this device.

    Raises:
        NotFound: there is no such shot, or the device does not belong to it.
    """
    members = await members_of(sources, await find_shot(sources, shot))
    for member in members:
        if member.device == device:
            return member
    raise NotFound(f"no device {device} belongs to shot {shot}")


def _record(member: Member, shot: int) -> ShotMember:
    source, verdict = member.source[shot], member.verdict[shot]
    block = None if source == ABSENT else member.blocks[source]
    return ShotMember(
        device=member.device,
        kind=member.kind,
        verdict=_verdict(member, verdict) if block else "missing",
        on=member.on[shot],
        bucket=block and block.bucket,
        block=block and block.key,
        row=member.row[shot] if block else None,
        raw_object=block and block.object_key,
    )


def _verdict(member: Member, verdict: int) -> str:
    return "valid" if verdict == VALID else member.reasons[verdict - 1]
