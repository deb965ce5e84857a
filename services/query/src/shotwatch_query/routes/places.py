"""What the places of the facility did last."""

from fastapi import APIRouter

from shotwatch_common.clock import epoch_now
from shotwatch_query.schemas import PlaceActivities
from shotwatch_query.sources import From
from shotwatch_shots.pulses import instant

router = APIRouter(tags=["facility"])


@router.get("/places", summary="What each place did last")
async def list_places(sources: From) -> PlaceActivities:
    """The newest shots of each place that recorded anything: when, how many a minute, how odd.

    Read every two seconds at the most, however many ask.
    """
    return PlaceActivities(now=instant(epoch_now()), places=await sources.overview.read())
