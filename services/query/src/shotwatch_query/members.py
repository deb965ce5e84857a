"""The members of a shot: the record of each device, and its location."""

from shotwatch_query.errors import NotFound
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import MemberRecord
from shotwatch_shots.pulses import instant
from shotwatch_shots.shot import JudgedShot


async def find_shot(sources: ApiSources, shot: str) -> JudgedShot:
    """Return a shot.

    Raises:
        NotFound: there is no such shot.
    """
    found = await sources.archive.shots.find(shot)
    if found is None:
        until = await sources.archive.retention.expired_until()
        gone = f"; most shots judged before {instant(until):%Y-%m-%d} have been deleted" if until else ""
        raise NotFound(f"there is no shot {shot}{gone}")
    return found


async def members_of(sources: ApiSources, shot: JudgedShot) -> list[MemberRecord]:
    """Return the members as they were when the shot's newest revision was closed.

    Raises:
        NotFound: the members are no longer stored.
    """
    batch = await sources.archive.batches.find(shot.batch)
    if batch is None:
        raise NotFound(f"the members of shot {shot.id} are no longer kept")
    return [member.of_shot(shot.index) for member in batch.members]


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
