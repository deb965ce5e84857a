"""The most recent activity of the places of the facility."""

from fastapi import APIRouter
from pydantic import Field

from shotwatch_common.clock import epoch_now
from shotwatch_query.overview import PlaceActivity
from shotwatch_query.schema import Instant, Schema
from shotwatch_query.sources import From

router = APIRouter(tags=["facility"])


class PlaceActivities(Schema):
    """The most recent activity of each place that has recorded anything."""

    now: Instant = Field(description="By this server's clock.")
    places: list[PlaceActivity]


@router.get("/places", summary="What each place did last")
async def list_places(sources: From) -> PlaceActivities:
    """Return the newest shots of each place that has recorded anything: times, rate and scores.

    The data are read every two seconds at most, however many callers request them.
    """
    return PlaceActivities(now=epoch_now(), places=await sources.overview.read())
