"""Responses are read from our own classes by the names of their attributes, which mypy does not check."""

import json

import pytest
from pydantic import BaseModel

from shotwatch_common.archive.audit import AuditLine
from shotwatch_physics.energy_series import DropOut
from shotwatch_physics.history import ChangePoint
from shotwatch_query.routes.audit import Change
from shotwatch_query.routes.facility import FacilityInterval
from shotwatch_query.routes.features import FeatureDefinition
from shotwatch_query.routes.feedback.schemas import EventStanding, FeedbackStatement
from shotwatch_query.routes.history import LevelChange
from shotwatch_query.routes.ledger.schemas import LedgerEquality
from shotwatch_query.routes.models.schemas import ChampionChange, ReplicaModel
from shotwatch_query.routes.reports.schemas import CalibrationSummary
from shotwatch_query.routes.series.schemas import DropOutSpan
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.facility import Interval
from shotwatch_shots.features.spec import FeatureSpec
from shotwatch_shots.feedback import Standing, Statement
from shotwatch_shots.models import ModelLoad, Promotion
from shotwatch_shots.place import Place
from shotwatch_shots.reconciliation.outcome import Imbalance
from shotwatch_shots.reconciliation.slices import Equality
from shotwatch_shots.reconciliation.summary import Found, Summary
from shotwatch_shots.vocabulary import AnomalyKind, CalibrationKind, ChangeOutcome, FeedbackAction, ModelAlias

NOON_MS = 1_656_676_800_000
NOON = "2022-07-01T12:00:00Z"
STATEMENT = Statement(
    event="event-2",
    incident="event-1",
    shot="shot",
    revision=1,
    time=NOON_MS,
    place=Place.parse("LA-A1-11"),
    interval="100ms",
    kind=AnomalyKind.HOT_SPOT,
    devices=("camera",),
    model="3",
    action=FeedbackAction.SNOOZED,
    label=None,
    until=NOON_MS + 1,
    who="amelie",
    caller="shift-a",
    note="",
    at=0,
)
CASES = [
    (
        Change,
        AuditLine(
            NOON_MS, "shift-a", "give_feedback", "/events/1", ChangeOutcome.DONE, 201, "trace", "::1", 2
        ),
        {
            "at": NOON,
            "who": "shift-a",
            "what": "give_feedback",
            "which": "/events/1",
            "outcome": "done",
            "status": 201,
            "trace_id": "trace",
            "address": "::1",
            "count": 2,
        },
    ),
    (
        FacilityInterval,
        Interval("60s", 30.0, 500),
        {"name": "60s", "period_ms": 60_000, "tolerance_ms": 500, "lateness_s": 30.0},
    ),
    (
        FeatureDefinition,
        FeatureSpec("width", "px", (0.0, float("inf")), "Width.", "ISO 1", "every shot"),
        {
            "name": "width",
            "unit": "px",
            "range": [0.0, None],
            "description": "Width.",
            "source": "ISO 1",
            "measured_on": "every shot",
        },
    ),
    (
        EventStanding,
        Standing("amelie", NOON_MS, FeedbackAction.CONFIRMED, AnomalyKind.HOT_SPOT, "shift-a"),
        {
            "acknowledged_by": "amelie",
            "acknowledged_caller": "shift-a",
            "snoozed_until": NOON,
            "verdict": "confirmed",
            "label": "hot_spot",
        },
    ),
    (
        FeedbackStatement,
        STATEMENT,
        {
            "id": STATEMENT.id,
            "event": "event-2",
            "incident": "event-1",
            "shot": "shot",
            "revision": 1,
            "time": NOON,
            "place": "LA-A1-11",
            "interval": "100ms",
            "kind": "hot_spot",
            "devices": ["camera"],
            "model": "3",
            "action": "snoozed",
            "label": None,
            "until": "2022-07-01T12:00:00.001000Z",
            "who": "amelie",
            "caller": "shift-a",
            "note": "",
            "at": "1970-01-01T00:00:00Z",
        },
    ),
    (
        LevelChange,
        ChangePoint(NOON_MS, 1.0, 2.0, 8.0, 0.999),
        {"time": NOON, "before": 1.0, "after": 2.0, "sigmas": 8.0, "confidence": 0.999},
    ),
    (DropOutSpan, DropOut(0, NOON_MS, 7), {"start": "1970-01-01T00:00:00Z", "end": NOON, "shots": 7}),
    (
        LedgerEquality,
        Summary(
            Equality.INBOX,
            {"ledger": 3},
            (Found("inbox", Imbalance("a.h5", "lost")),),
            1,
            2,
            (Found("inbox", Imbalance("b.h5", "late")),),
            5,
            4,
            0,
        ),
        {
            "equality": "inbox",
            "counts": {"ledger": 3},
            "named": [{"slice": "inbox", "subject": "a.h5", "wrong": "lost"}],
            "imbalances": 1,
            "under_way": 2,
            "pending": [{"slice": "inbox", "subject": "b.h5", "wrong": "late"}],
            "slices": 5,
            "unchecked": 4,
            "checked_at": None,
        },
    ),
    (
        ChampionChange,
        Promotion(NOON_MS, "os:amelie", "2", "3", "better", digest="abc"),
        {
            "at": NOON,
            "who": "os:amelie",
            "before": "2",
            "version": "3",
            "why": "better",
            "rollback": False,
            "digest": "abc",
        },
    ),
    (
        ReplicaModel,
        ModelLoad("inference-1", ModelAlias.CHAMPION, "3", None, "it is gone"),
        {
            "replica": "inference-1",
            "alias": "champion",
            "version": "3",
            "loaded": None,
            "problem": "champion: version 3 cannot be loaded: it is gone; judging with rules only",
        },
    ),
    (
        CalibrationSummary,
        CalibrationConstants("camera", CalibrationKind.REFERENCE, 2, NOON_MS, 0, NOON_MS, 9, "blocks", "key"),
        {
            "kind": "reference",
            "version": 2,
            "made_at": NOON,
            "start": "1970-01-01T00:00:00Z",
            "end": NOON,
            "frames": 9,
        },
    ),
]


@pytest.mark.parametrize(("schema", "ours", "written"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_a_response_holds_the_values_of_our_own_class(
    schema: type[BaseModel], ours: object, written: dict[str, object]
) -> None:
    assert json.loads(schema.model_validate(ours).model_dump_json()) == written
