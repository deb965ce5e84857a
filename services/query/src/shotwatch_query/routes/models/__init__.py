"""The model in the registry."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from fastapi import APIRouter

from shotwatch_common.archive.shadows import ShadowRecord
from shotwatch_common.clock import epoch_now
from shotwatch_common.promotion_audit import differences
from shotwatch_common.registry import RegisteredVersion
from shotwatch_query.reservation import Room
from shotwatch_query.routes.models.schemas import (
    ChampionChange,
    ChampionHistory,
    DeviceDrift,
    DriftReport,
    FeatureShift,
    ModelRecord,
    ModelVersionSummary,
    OwnThreshold,
    PlaceThresholds,
    RegisteredModel,
    ReplicaModel,
    ThresholdReport,
)
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.drift import Drift
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.models import ScoredHour
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import instant
from shotwatch_shots.vocabulary import FeedbackAction, ModelAlias

router = APIRouter(tags=["models"])
VERSIONS = 100
"""Approximate number of versions, by which memory is reserved."""
DIFFERENCES = 100


@router.get("/models", summary="Versions and aliases of the model")
async def get_model(sources: From, room: Room) -> RegisteredModel:
    """Return the versions that training registered in MLflow, newest first.

    Inference scores with the alias `champion`.

    The alias `challenger` also scores, in shadow mode: `shadow` counts the shots that it would have flagged
    as anomalous. A version that has an alias may be one that inference cannot load, or that was not promoted:
    see `loads`. `promotion_differences` lists differences between promotions and audit.
    """
    await room.rows(VERSIONS)
    aliases, versions = await asyncio.gather(sources.registry.aliases(), sources.registry.versions())
    names = [version.version for version in versions]
    records, shadows = await _records(sources, names), await sources.archive.shadows.records(names)
    return RegisteredModel(
        name=sources.registry.name,
        aliases=aliases,
        versions=[
            _version(version, aliases, records[version.version], shadows.get(version.version))
            for version in versions
        ],
        loads=list(map(ReplicaModel.model_validate, await sources.archive.model_loads.fresh())),
        promotion_differences=(await differences(sources.archive, epoch_now()))[:DIFFERENCES],
    )


@router.get("/models/promotions", summary="Which version was champion when")
async def list_promotions(sources: From) -> ChampionHistory:
    """Return every change of the champion, newest first: who, when, why, and whether it was a rollback."""
    promotions = await sources.archive.promotions.newest(ModelAlias.CHAMPION)
    return ChampionHistory(promotions=list(map(ChampionChange.model_validate, promotions)))


@router.get("/models/drift", summary="How far devices are from what the champion was trained on")
async def get_drift(sources: From) -> DriftReport:
    """Return each device's recent features and scores, compared with the champion's training period.

    Only data since it became champion are used.
    """
    promotion = await sources.archive.promotions.current(ModelAlias.CHAMPION)
    champion = promotion.version if promotion else None
    drifts = [] if champion is None else await sources.archive.drifts.of_version(champion)
    return DriftReport(version=champion, devices=[_device_drift(drift) for drift in drifts])


@router.get("/models/thresholds", summary="Where thresholds come from: fitted tails, or a place's own past")
async def get_thresholds(sources: From) -> ThresholdReport:
    """Return the champion's thresholds at each place, and the rate of false alarms that its past supports.

    Scores of a question with a threshold of its own are scaled, so that it becomes `fitted`.
    """
    promotion = await sources.archive.promotions.current(ModelAlias.CHAMPION)
    champion = promotion.version if promotion else None
    if champion is None:
        return ThresholdReport(version=None, places=[])
    of_version = partial(sources.archive.scored_hours.newest, model=champion)
    hours = await asyncio.gather(*(of_version(str(each.series)) for each in sources.facility.places))
    return ThresholdReport(version=champion, places=[_place_thresholds(hour) for hour in hours if hour])


def _place_thresholds(hour: ScoredHour) -> PlaceThresholds:
    series, thresholds = ShotSeries.parse(hour.series), hour.thresholds
    return PlaceThresholds(
        place=series.place,
        interval=series.interval,
        hour=instant(hour.hour * HOUR_MS),
        fitted=thresholds.fitted,
        own=[OwnThreshold(kind=kind, threshold=own) for kind, own in sorted(thresholds.own.items())],
        since=None if thresholds.since is None else instant(thresholds.since * HOUR_MS),
        normal_blocks=thresholds.blocks,
        supported_per_hour=thresholds.supported_per_hour,
    )


def _device_drift(drift: Drift) -> DeviceDrift:
    furthest_first = sorted(drift.features.items(), key=lambda item: -abs(item[1].shift))
    return DeviceDrift(
        device=drift.device,
        start=drift.start,
        end=drift.end,
        features=[FeatureShift(name=name, **asdict(feature)) for name, feature in furthest_first],
    )


async def _records(sources: ApiSources, versions: Sequence[str]) -> dict[str, ModelRecord]:
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


def _version(
    version: RegisteredVersion, aliases: Mapping[str, str], record: ModelRecord, shadow: ShadowRecord | None
) -> ModelVersionSummary:
    return ModelVersionSummary(
        version=version.version,
        created_at=version.created_at,
        status=version.status,
        run_id=version.run_id,
        aliases=[alias for alias, named in aliases.items() if named == version.version],
        tags=dict(version.tags),
        record=record,
        shadow=shadow,
    )
