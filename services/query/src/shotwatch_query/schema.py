"""The base of the responses of the REST API, as its OpenAPI description shows them.

The schemas of a resource are in the module of its routes, or in `schemas` beside its routes.
"""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shotwatch_shots.place import Place
from shotwatch_shots.pulses import instant

SHOT_ID = "LA-A1-11-100ms-20220701T073300.100"
DEVICE = "LA_A1_11-Camera_1-Camera-1"


def _instant(value: object) -> object:
    return instant(value) if isinstance(value, int) else value


Instant = Annotated[datetime, BeforeValidator(_instant)]
"""A time, written as RFC 3339 in UTC; it is also read from epoch ms, which our own classes have."""


class Schema(BaseModel):
    """A part of a response. `model_validate` reads it from an object with the same attributes."""

    model_config = ConfigDict(
        frozen=True, from_attributes=True, ser_json_inf_nan="null", use_attribute_docstrings=True
    )


class Where(Schema):
    """A place of the chain and the interval at which it is recorded."""

    place: Place = Field(description="A value for each level of the facility.", examples=["LA-A1-11"])
    interval: str = Field(description="Sampling period of the recorders.", examples=["100ms"])
