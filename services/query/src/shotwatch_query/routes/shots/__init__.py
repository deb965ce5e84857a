"""Shots: search, and all data of one shot."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field, FiniteFloat
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.archive.measurements import of_shot
from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.listing import Listing
from shotwatch_query.members import find_shot, members_of
from shotwatch_query.parameters import Area, PageParameters, ShotId
from shotwatch_query.reservation import Room
from shotwatch_query.routes.shots.schemas import (
    AnomalySummary,
    MeasuredFeature,
    Reasons,
    Refusal,
    Revision,
    ShotDetails,
    ShotMember,
    ShotPage,
    ShotSummary,
)
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.features.spec import FeatureSpec
from shotwatch_shots.pulses import instant
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind

router = APIRouter(tags=["shots"])
_ANY = (-inf, inf)


class ShotSearch(PageParameters):
    """The shots that are requested; a parameter that is left out matches any."""

    place: Area = None
    interval: str | SkipJsonSchema[None] = Field(None, examples=["100ms"])
    kind: AnomalyKind | SkipJsonSchema[None] = Field(None, description="Shots with an anomaly of this kind.")
    min_score: FiniteFloat | SkipJsonSchema[None] = Field(
        None, description="Shots that were scored this high or higher."
    )
    complete: bool | SkipJsonSchema[None] = None

    @property
    def filter(self) -> ShotFilter:
        return ShotFilter(self.place, self.interval, self.kind, self.min_score, self.complete)


@router.get("/shots", summary="Search shots")
async def search_shots(sources: From, room: Room, search: Annotated[ShotSearch, Query()]) -> ShotPage:
    """Search shots by time, place, kind of anomaly, score and completeness, one page at a time.

    Without `to` the search ends with the newest record of any device; without `from` it begins a day earlier.
    The cursor marks a position between two shots: pages neither repeat nor skip a shot while new ones arrive.
    """

    async def read(span: Span, limit: int) -> AsyncIterator[tuple[Span, Sequence[JudgedShot]]]:
        found = sources.archive.shots.search(search.filter, span.start, span.end, search.newest_first, limit)
        async for part in found:
            yield Span(part.start, part.end), part.shots

    listing = Listing(read, _position, search.newest_first)
    cursor = search.read_cursor() or listing.first_page(search.span(await sources.end_of_data()))
    await room.rows(search.limit)
    shots, following = await listing.page(cursor, search.limit)
    return ShotPage(
        shots=[ShotSummary(**_summary(each)) for each in shots],
        next=following and following.encode(),
    )


@router.get("/shots/{shot}", summary="Everything about one shot")
async def get_shot(sources: From, room: Room, shot: ShotId) -> ShotDetails:
    """Return the members with their verdicts, features with units, score, reasons and revisions of a shot."""
    await room.rows(1)
    found = await find_shot(sources, shot)
    measured = await sources.archive.measurements.of_batch(found.batch)
    events = await sources.archive.events.of_shots([shot])
    return ShotDetails(
        **_summary(found),
        members=list(map(ShotMember.of, await members_of(sources, found))),
        features=_features(of_shot(measured, found.index)),
        reasons=_reasons(found, events),
        revisions=await _revisions(sources, found),
        model=found.model,
        trace_id=found.trace_id,
    )


async def _revisions(sources: ApiSources, shot: JudgedShot) -> list[Revision]:
    return [
        Revision(revision=int(batch.revisions[n]), at=instant(closed_at), complete=bool(batch.complete[n]))
        for batch, closed_at in await sources.archive.batches.of_window(shot.window)
        for n in np.flatnonzero(batch.pulses == shot.pulse)
    ]


def _position(shot: JudgedShot) -> Position:
    return Position(shot.pulse, shot.id)


def _summary(shot: JudgedShot) -> dict[str, object]:
    return {
        "id": shot.id,
        "time": instant(shot.pulse),
        "place": shot.series.place,
        "interval": shot.series.interval,
        "revision": shot.revision,
        "complete": shot.complete,
        "missing": shot.missing,
        "score": shot.verdict.score,
        "threshold": shot.verdict.threshold,
        "kinds": shot.verdict.kinds,
        "severity": shot.verdict.severity,
    }


def _features(measured: Mapping[str, Mapping[str, float]]) -> list[MeasuredFeature]:
    return [
        MeasuredFeature(
            device=device,
            name=name,
            value=value,
            unit=spec.unit,
            description=spec.description,
            source=spec.source,
        )
        for device, features in measured.items()
        for name, value in features.items()
        for spec in (FEATURE_SPECS.get(name, FeatureSpec(name, "", _ANY, "")),)
    ]


def _reasons(shot: JudgedShot, events: Sequence[AnomalyEvent]) -> Reasons:
    return Reasons(
        missing=list(shot.missing),
        refused=[Refusal(**asdict(each)) for each in shot.refused],
        anomalies=[
            AnomalySummary(id=event.id, **event.data.model_dump(include=set(AnomalySummary.model_fields)))
            for event in sorted(events, key=lambda event: event.data.sequence)
        ],
    )
