"""The definitions of features."""

from math import isfinite
from typing import Annotated

from fastapi import APIRouter
from pydantic import BeforeValidator, Field

from shotwatch_query.schema import Schema
from shotwatch_shots.features.catalogue import FEATURE_SPECS

router = APIRouter(tags=["features"])


def _bound(value: float) -> float | None:
    return value if isfinite(value) else None


Bound = Annotated[float | None, BeforeValidator(_bound)]


class FeatureDefinition(Schema):
    """The definition of a feature."""

    name: str = Field(examples=["centroid_x"])
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    range: tuple[Bound, Bound] = Field(
        description="Lowest and highest value that can occur; null where there is no bound."
    )
    description: str
    source: str = Field(description="The standard or report that defines it, if any.")
    measured_on: str = Field(description="Which shots have it.", examples=["every shot"])


class FeatureCatalogue(Schema):
    """The definitions of all features."""

    features: list[FeatureDefinition]


@router.get("/features", summary="What is measured")
async def list_features() -> FeatureCatalogue:
    """Return every feature and score: its unit, range and definition, and which shots have it."""
    return FeatureCatalogue(
        features=[FeatureDefinition.model_validate(spec) for spec in FEATURE_SPECS.values()]
    )
