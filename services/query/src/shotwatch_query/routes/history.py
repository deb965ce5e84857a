"""A feature of a device compared with its own past."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from shotwatch_common.archive.measurements import Series
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.history import ChangePoint, Trend, against_own_past, change_points, trend
from shotwatch_query.answers import streamed
from shotwatch_query.devices import find_roster
from shotwatch_query.domain.columns import Times, json_pieces, moments_of
from shotwatch_query.parameters import DeviceName, FeatureName, SpanParameters, require_short
from shotwatch_query.reservation import Room
from shotwatch_query.schemas import HistoryDocument, LevelChange, NewestValue, TrendLine
from shotwatch_query.sources import From
from shotwatch_shots.features import FEATURE_TERMS
from shotwatch_shots.pulses import instant, window_length_ms

router = APIRouter(prefix="/devices/{device}", tags=["devices"])
HISTORY_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The medians, and what they say.", "model": HistoryDocument}
}


class HistoryParameters(SpanParameters):
    """The feature and the past that are requested."""

    feature: FeatureName = Field(description="Name of a feature.")


@router.get(
    "/history",
    summary="A feature against its own past",
    response_class=Response,
    responses=HISTORY_RESPONSES,
)
async def get_history(
    sources: From, room: Room, device: DeviceName, asked: Annotated[HistoryParameters, Query()]
) -> Response:
    """Return trend and lasting changes of a feature, and the rank of its newest value among all earlier ones.

    They are computed from medians over about a minute each, without assuming a distribution. Without `from`
    and `to` the span is the last day of data.
    """
    roster = find_roster(sources.facility, device)
    span = asked.span(await sources.end_of_data())
    await room.values(require_short(span, window_length_ms(sources.facility.interval(roster.interval))))
    series = await sources.archive.measurements.medians(device, [asked.feature], span.start, span.end)
    document = await asyncio.to_thread(_history, device, asked.feature, series)
    return streamed(json_pieces(document), "application/json")


def trend_line(found: Trend | None) -> TrendLine | None:
    return None if found is None else TrendLine(**asdict(found))


def _history(device: str, feature: str, series: Series) -> dict[str, Any]:
    """Return a HistoryDocument with its columns as arrays."""
    medians = series.columns[feature]
    return {
        "device": device,
        "feature": feature,
        "unit": FEATURE_TERMS[feature].unit,
        "times": moments_of(series.pulses),
        "medians": medians,
        "trend": trend_line(trend(series.pulses, medians)),
        "changes": [_level_change(change) for change in change_points(series.pulses, medians)],
        "newest": _newest(series.pulses, medians) if len(medians) else None,
    }


def _level_change(change: ChangePoint) -> LevelChange:
    return LevelChange(
        time=instant(change.time_ms),
        before=change.before,
        after=change.after,
        sigmas=change.sigmas,
        confidence=change.confidence,
    )


def _newest(times: Times, medians: FloatArray) -> NewestValue:
    comparison = against_own_past(medians[-1:], medians[:-1])
    return NewestValue(
        time=instant(int(times[-1])),
        value=float(medians[-1]),
        percentile=float(comparison.percentile[0]),
        tail_probability=float(comparison.tail_probability[0]),
        sigmas=float(comparison.sigmas[0]),
    )
