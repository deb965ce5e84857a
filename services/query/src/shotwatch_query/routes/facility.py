"""The facility that is watched."""

from fastapi import APIRouter
from pydantic import Field

from shotwatch_query.schema import DEVICE, Schema, Where
from shotwatch_query.sources import From
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility

router = APIRouter(tags=["facility"])


class FacilityDevice(Schema):
    device: str = Field(examples=[DEVICE])
    kind: DeviceKind


class FacilityPlace(Where):
    """A place of the chain and the devices that belong to its shots."""

    devices: list[FacilityDevice]


class FacilityInterval(Schema):
    """The sampling period of a recorder, and the tolerance and lateness of its join."""

    name: str
    period_ms: int
    tolerance_ms: int
    lateness_s: float


class FacilityDocument(Schema):
    """The facility that this system watches."""

    name: str
    levels: list[str] = Field(
        description="Names of the levels of a place.", examples=[["frontend", "amp", "arm"]]
    )
    intervals: list[FacilityInterval]
    places: list[FacilityPlace]


@router.get("/facility", summary="Places, devices and intervals")
async def get_facility(sources: From) -> FacilityDocument:
    """Return the facility file's content: places of the chain, their devices, and how shots are joined."""
    facility = sources.facility
    return FacilityDocument(
        name=facility.name,
        levels=list(facility.levels),
        intervals=[FacilityInterval.model_validate(interval) for interval in facility.intervals],
        places=[_place(facility, expected) for expected in facility.places],
    )


def _place(facility: Facility, expected: ExpectedDevices) -> FacilityPlace:
    return FacilityPlace(
        place=expected.place,
        interval=expected.interval,
        devices=[
            FacilityDevice(device=group, kind=facility.device_type(group).kind) for group in expected.devices
        ],
    )
