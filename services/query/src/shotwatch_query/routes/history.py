"""A feature of a device compared with its own past."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from shotwatch_common.archive.measurements import Series
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.history import Trend, against_own_past, change_points, trend
from shotwatch_query.answers import Responses, streamed
from shotwatch_query.devices import find_expected
from shotwatch_query.domain.columns import Times, json_pieces, moments_of
from shotwatch_query.parameters import DeviceName, FeatureName, SpanParameters, require_short
from shotwatch_query.reservation import Room
from shotwatch_query.schema import DEVICE, Instant, Schema
from shotwatch_query.sources import From
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.pulses import window_length_ms

router = APIRouter(prefix="/devices/{device}", tags=["devices"])


class LevelChange(Schema):
    """A lasting step of a slow quantity."""

    time: Instant = Field(validation_alias="time_ms", description="The first value after the change.")
    before: float = Field(description="Median since the change before.")
    after: float = Field(description="Median until the next change.")
    sigmas: float = Field(description="The step in standard deviations of the noise.")
    confidence: float = Field(description="One minus the probability that noise makes such a step.")


class NewestValue(Schema):
    """The rank of the newest value among all earlier ones."""

    time: Instant
    value: float
    percentile: float | None = Field(description="Share of the past below it, 0 to 100; null without a past.")
    tail_probability: float = Field(description="How likely a value this far out is, by ranks alone.")
    sigmas: float | None = Field(
        description="Distance from the median in robust standard deviations; null when the past did not vary."
    )


class HistoryDocument(Schema):
    """A feature of a device compared with its own past, in medians over about a minute."""

    device: str = Field(examples=[DEVICE])
    feature: str = Field(examples=["centroid_x"])
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    times: list[Instant] = Field(description="First shot of each median.")
    medians: list[float | None]
    trend: Trend | None = Field(description="Null for a series that is too short.")
    changes: list[LevelChange]
    newest: NewestValue | None = Field(description="Null without values.")


HISTORY_RESPONSES: Responses = {
    200: {"description": "The medians, and the changes found in them.", "model": HistoryDocument}
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
    expected = find_expected(sources.facility, device)
    span = asked.span(await sources.end_of_data())
    await room.values(require_short(span, window_length_ms(sources.facility.interval(expected.interval))))
    series = await sources.archive.measurements.medians(device, [asked.feature], span.start, span.end)
    document = await asyncio.to_thread(_history, device, asked.feature, series)
    return streamed(json_pieces(document), "application/json")


def _history(device: str, feature: str, series: Series) -> dict[str, object]:
    """Return a HistoryDocument with its columns as arrays."""
    medians = series.columns[feature]
    return {
        "device": device,
        "feature": feature,
        "unit": FEATURE_SPECS[feature].unit,
        "times": moments_of(series.pulses),
        "medians": medians,
        "trend": trend(series.pulses, medians),
        "changes": list(map(LevelChange.model_validate, change_points(series.pulses, medians))),
        "newest": _newest(series.pulses, medians) if len(medians) else None,
    }


def _newest(times: Times, medians: FloatArray) -> NewestValue:
    comparison = against_own_past(medians[-1:], medians[:-1])
    return NewestValue(
        time=int(times[-1]),
        value=float(medians[-1]),
        percentile=float(comparison.percentile[0]),
        tail_probability=float(comparison.tail_probability[0]),
        sigmas=float(comparison.sigmas[0]),
    )
