"""The most recent activity of the places of the facility."""

from fastapi import APIRouter

from shotwatch_common.clock import epoch_now
from shotwatch_query.schemas import PlaceActivities
from shotwatch_query.sources import From
from shotwatch_shots.pulses import instant

router = APIRouter(tags=["facility"])


@router.get("/places", summary="What each place did last")
async def list_places(sources: From) -> PlaceActivities:
    """Return the newest shots of each place that has recorded anything: times, rate and scores.

    The data are read every two seconds at most, however many callers request them.
    """
    return PlaceActivities(now=instant(epoch_now()), places=await sources.overview.read())
