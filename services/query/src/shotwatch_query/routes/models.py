"""The model in the registry."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from shotwatch_common.pulses import instant
from shotwatch_common.vocabulary import FeedbackAction
from shotwatch_query.registry import MODEL
from shotwatch_query.schemas import Model, ModelRecord, ModelVersion
from shotwatch_query.sources import From, Sources

router = APIRouter(tags=["models"])


@router.get("/models", summary="Versions and aliases of the model")
async def get_model(sources: From) -> Model:
    """What training registered in MLflow, newest first. Inference scores with the alias `champion`."""
    model, versions = await sources.registry.model()
    aliases = {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}
    records = await _records(sources, [version["version"] for version in versions])
    return Model(
        name=MODEL,
        aliases=aliases,
        versions=[_version(version, aliases, records[version["version"]]) for version in versions],
    )


async def _records(sources: Sources, versions: Sequence[str]) -> dict[str, ModelRecord]:
    raised = await sources.archive.events.raised(versions)
    verdicts = await sources.archive.feedback.verdicts(versions)
    return {
        version: ModelRecord(
            raised=raised[version],
            confirmed=verdicts[version][FeedbackAction.CONFIRMED],
            false=verdicts[version][FeedbackAction.FALSE],
        )
        for version in versions
    }


def _version(version: dict[str, Any], aliases: dict[str, str], record: ModelRecord) -> ModelVersion:
    return ModelVersion(
        version=version["version"],
        created_at=instant(version["creation_timestamp"]),
        status=version["status"],
        run_id=version.get("run_id", ""),
        aliases=[alias for alias, named in aliases.items() if named == version["version"]],
        tags={tag["key"]: tag["value"] for tag in version.get("tags", [])},
        record=record,
    )
