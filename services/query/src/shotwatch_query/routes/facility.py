"""The facility that is watched."""

from dataclasses import asdict

from fastapi import APIRouter

from shotwatch_query.schemas import FacilityDevice, FacilityDocument, FacilityInterval, FacilityPlace
from shotwatch_query.sources import From
from shotwatch_shots.facility import Facility, Interval, PlaceRoster

router = APIRouter(tags=["facility"])


@router.get("/facility", summary="Places, devices and intervals")
async def get_facility(sources: From) -> FacilityDocument:
    """Return the facility file's content: places of the chain, their devices, and how shots are joined."""
    facility = sources.facility
    return FacilityDocument(
        name=facility.name,
        levels=list(facility.levels),
        intervals=[_interval(interval) for interval in facility.intervals],
        places=[_place(facility, roster) for roster in facility.places],
    )


def _interval(interval: Interval) -> FacilityInterval:
    return FacilityInterval(**asdict(interval), period_ms=interval.period_ms)


def _place(facility: Facility, roster: PlaceRoster) -> FacilityPlace:
    return FacilityPlace(
        place=roster.place,
        interval=roster.interval,
        devices=[
            FacilityDevice(device=group, kind=facility.device_type(group).kind) for group in roster.devices
        ],
    )
