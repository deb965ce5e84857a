"""The model in the registry."""

from typing import Any

from fastapi import APIRouter

from shotwatch_common.pulses import instant
from shotwatch_query.registry import MODEL
from shotwatch_query.schemas import Model, ModelVersion
from shotwatch_query.sources import From

router = APIRouter(tags=["models"])


@router.get("/models", summary="Versions and aliases of the model")
async def get_model(sources: From) -> Model:
    """What training registered in MLflow, newest first. Inference scores with the alias `champion`."""
    model, versions = await sources.registry.model()
    aliases = {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}
    return Model(name=MODEL, aliases=aliases, versions=[_version(version, aliases) for version in versions])


def _version(version: dict[str, Any], aliases: dict[str, str]) -> ModelVersion:
    return ModelVersion(
        version=version["version"],
        created_at=instant(version["creation_timestamp"]),
        status=version["status"],
        run_id=version.get("run_id", ""),
        aliases=[alias for alias, named in aliases.items() if named == version["version"]],
        tags={tag["key"]: tag["value"] for tag in version.get("tags", [])},
    )
