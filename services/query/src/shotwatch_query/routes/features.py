"""The catalogue of features."""

from math import isfinite

from fastapi import APIRouter

from shotwatch_query.schemas import FeatureCatalogue, FeatureDefinition
from shotwatch_shots.features import FEATURE_TERMS, FeatureTerm

router = APIRouter(tags=["features"])


@router.get("/features", summary="What is measured")
async def list_features() -> FeatureCatalogue:
    """Return every feature and score: its unit, range and definition, and which shots have it."""
    return FeatureCatalogue(features=[_definition(term) for term in FEATURE_TERMS.values()])


def _definition(term: FeatureTerm) -> FeatureDefinition:
    return FeatureDefinition(
        name=term.name,
        unit=term.unit,
        range=(_bound(term.range[0]), _bound(term.range[1])),
        description=term.description,
        source=term.source,
        measured_on=term.measured_on,
    )


def _bound(value: float) -> float | None:
    return value if isfinite(value) else None
