"""Query parameters that several resources share: times, places, spans and pages."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, TypeGuard, get_origin

from fastapi import Path, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from shotwatch_query.domain.pages import EARLIEST_MS, LATEST_MS, LONGEST_CURSOR, PageCursor, Span
from shotwatch_query.errors import BadRequest
from shotwatch_query.schema import DEVICE, SHOT_ID
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.place import Place
from shotwatch_shots.pulses import epoch_ms

ShotId = Annotated[str, Path(description="Id of a shot.", examples=[SHOT_ID])]
DeviceName = Annotated[str, Path(description="Name of a device.", examples=[DEVICE])]

MOST_VALUES = 1_000_000
"""Maximum number of values in one response: slightly more than a day of a feature at 10 Hz."""

_EPOCH_MS = re.compile(r"-?\d{1,18}", re.ASCII)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _moment(value: object) -> int:
    """Convert RFC 3339 to epoch ms; leave epoch ms unchanged.

    Raises:
        ValueError: it is neither, or outside the years 1 to 9999.
    """
    text = str(int(value) if _is_whole(value) else value).upper()
    if _EPOCH_MS.fullmatch(text):
        time = int(text)
    elif _RFC_3339.fullmatch(text):
        time = epoch_ms(datetime.fromisoformat(text))
    else:
        raise ValueError("neither RFC 3339 with an offset nor epoch milliseconds")
    if not EARLIEST_MS <= time <= LATEST_MS:
        raise ValueError("not within the years 1 to 9999")
    return time


def _is_whole(value: object) -> TypeGuard[float]:
    """Return whether a number is whole: in JSON, 1.0 is an integer as well."""
    return isinstance(value, float) and value.is_integer()


Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": EARLIEST_MS, "maximum": LATEST_MS},
            ]
        }
    ),
]
"""RFC 3339 or epoch ms; stored as epoch ms."""


def _feature_name(text: str) -> str:
    if text not in FEATURE_SPECS:
        raise ValueError("no feature of this name is known; /features lists them")
    return text


FeatureName = Annotated[
    str,
    AfterValidator(_feature_name),
    WithJsonSchema({"type": "string", "enum": list(FEATURE_SPECS)}),
]


Area = Annotated[
    Place | SkipJsonSchema[None],
    Field(
        description="A place, or an area: all places that begin so. `/facility` lists the places.",
        examples=["LA-A1-11", "LA-A1", "LA"],
    ),
]


class Parameters(BaseModel):
    """Query parameters; an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


async def refuse_repeated(request: Request) -> None:
    """Refuse a query parameter that is given more than once, unless the route has a list of that name.

    FastAPI would use the last value.

    Raises:
        BadRequest: there is such a parameter; the message names the first.
    """
    lists = set(_list_names(request.scope["route"]))
    times = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in times.items():
        if count > 1 and name not in lists:
            raise BadRequest(f"{name}: given {count} times; give it once")


def _list_names(route: APIRoute) -> Iterator[str]:
    for parameter in route.dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, Parameters):
            yield from (
                name for name, each in model.model_fields.items() if get_origin(each.annotation) is list
            )


class SpanParameters(Parameters):
    """The span of time that is requested."""

    default_ms: ClassVar[int] = DAY_MS
    """Length of the default span, in ms."""

    start: Moment | SkipJsonSchema[None] = Field(
        None,
        alias="from",
        description="From this time on (RFC 3339 or epoch ms); a day before `to` when left out.",
        examples=["2022-07-01T07:33:00Z", 1656660780000],
    )
    end: Moment | SkipJsonSchema[None] = Field(
        None, alias="to", description="Before this time.", examples=["2022-07-01T08:00:00Z"]
    )

    def span(self, end_of_data: int) -> Span:
        """Return the requested span; by default, one of the usual length up to the end of data (epoch ms)."""
        end = end_of_data if self.end is None else self.end
        return Span(max(end - self.default_ms, EARLIEST_MS) if self.start is None else self.start, end)


class HourParameters(SpanParameters):
    """The span of time that is requested, by default an hour."""

    default_ms: ClassVar[int] = HOUR_MS
    start: Moment | SkipJsonSchema[None] = Field(
        None,
        alias="from",
        description="From this time on (RFC 3339 or epoch ms); an hour before `to` when left out.",
        examples=["2022-07-01T07:33:00Z", 1656660780000],
    )


class PageOrder(StrEnum):
    """The order in time of a listing."""

    NEWEST = "newest"
    OLDEST = "oldest"


class PageParameters(SpanParameters):
    """The page and the span of time that are requested."""

    order: PageOrder = PageOrder.NEWEST
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | SkipJsonSchema[None] = Field(
        None,
        max_length=LONGEST_CURSOR,
        description="`next` of the page before. It contains the span: `from` and `to` are ignored.",
    )

    @property
    def newest_first(self) -> bool:
        return self.order is PageOrder.NEWEST

    def read_cursor(self) -> PageCursor | None:
        """Return the position at which the page begins; None for the first page.

        Raises:
            BadRequest: the cursor is not valid.
        """
        try:
            return None if self.cursor is None else PageCursor.decode(self.cursor)
        except ValueError as error:
            raise BadRequest(f"cursor: {error}") from error


def require_short(span: Span, value_every_ms: int, features: int = 1) -> int:
    """Return the maximum number of values in a span, for features with a value every `value_every_ms`.

    Raises:
        BadRequest: more than MOST_VALUES; the message gives the maximum span.
    """
    longest_ms = MOST_VALUES * value_every_ms // features
    length_ms = max(span.end - span.start, 0)
    if length_ms > longest_ms:
        longest = timedelta(seconds=longest_ms // 1000)
        raise BadRequest(f"from, to: more than {MOST_VALUES:,} values; ask for at most {longest} at a time")
    return features * (length_ms // value_every_ms + 1)
