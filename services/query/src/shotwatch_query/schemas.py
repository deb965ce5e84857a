"""The responses of the REST API, as its OpenAPI description shows them."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shotwatch_shots.calibration import CharacterisationKind
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.place import Place
from shotwatch_shots.reconciliation.slices import Equality
from shotwatch_shots.vocabulary import (
    AnomalyKind,
    ChangeOutcome,
    DeviceKind,
    FeedbackAction,
    ModelAlias,
    ObjectState,
    Scope,
    Severity,
)

SHOT_ID = "LA-A1-11-100ms-20220701T073300.100"
DEVICE = "LA_A1_11-Camera_1-Camera-1"


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


class Where(Schema):
    """A place of the chain and the interval at which it is recorded."""

    place: Place = Field(description="A value for each level of the facility.", examples=["LA-A1-11"])
    interval: str = Field(description="Sampling period of the recorders.", examples=["100ms"])


class ShotSummary(Where):
    """A shot as shown in a listing."""

    id: str = Field(examples=[SHOT_ID])
    time: datetime = Field(description="Time of the pulse.")
    revision: int = Field(description="Counts how often the shot was closed, from 1.")
    complete: bool = Field(description="Every kind of device of the place is there with a valid record.")
    missing: list[str] = Field(description="Devices without a record in this shot.")
    score: float | None = Field(
        description="How odd: -log10 of the probability that a usual shot deviates as much anywhere; 4.6 is "
        "once an hour at 10 Hz. Null when no model scored it."
    )
    threshold: float | None = Field(description="From where on a score is an anomaly.")
    kinds: list[AnomalyKind] = Field(description="Kinds of anomalies of its newest revision.")
    severity: Severity | None = Field(description="The gravest of its anomalies.")


class ShotPage(Schema):
    """One page of shots."""

    shots: list[ShotSummary]
    next: str | None = Field(
        description="Cursor of the next page; null when there is none. A page may hold fewer shots than "
        "asked for, even none, and yet have a next one: the search for something rare goes on from there."
    )


class ShotMember(Schema):
    """The part of one device in a shot."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    verdict: str = Field(
        description="`valid`, `missing`, or the reason of its refusal.", examples=["valid", "black_frame"]
    )
    on: bool = Field(description="Whether the device was last known to be ON.")
    block: str | None = Field(description="Key of the block that holds the record; null when it is missing.")
    row: int | None = Field(description="Row of the record in its block.")
    raw_object: str | None = Field(description="Key of the object from which the block was made.")


class Feature(Schema):
    """A quantity measured for one device in a shot; what could not be measured is left out."""

    device: str = Field(examples=[DEVICE])
    name: str = Field(examples=["centroid_x"])
    value: float
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    description: str
    source: str = Field(description="The standard or report that defines it, if any.")


class Refusal(Schema):
    """A record that does not count."""

    device: str
    reason: str


class AnomalySummary(Schema):
    """The summary of an anomaly event of a shot."""

    id: str
    sequence: int
    revision: int
    kind: AnomalyKind
    severity: Severity
    why: str
    devices: list[str]
    score: float
    threshold: float


class Reasons(Schema):
    """The reasons why a shot is not normal; all empty for a normal one."""

    missing: list[str]
    refused: list[Refusal]
    anomalies: list[AnomalySummary] = Field(description="Events of every revision, in order of publication.")


class Revision(Schema):
    """One closing of a shot."""

    revision: int
    at: datetime
    complete: bool


class Shot(ShotSummary):
    """All data of a shot."""

    members: list[ShotMember]
    features: list[Feature]
    reasons: Reasons
    revisions: list[Revision]
    model: Mapping[str, Any] | None = Field(description="Name, version and run of the model that scored it.")
    trace_id: str | None = Field(description="The trace in which it was judged.")


class Row(Schema):
    """One record of a block, without its arrays."""

    shot: str
    device: str
    kind: DeviceKind
    time: datetime = Field(description="As recorded.")
    state: str | None
    readable: bool = Field(description="Whether the file held data for this record.")
    verdict: str
    block: str
    row: int
    values: Mapping[str, float | None] = Field(examples=[{"energy1": 1.02, "energy2": 0.99}])
    unit: str = Field(description="Unit of the values.", examples=["J"])
    arrays: Mapping[str, list[int]] = Field(
        description="Shapes of the record's arrays.", examples=[{"image": [102, 128]}]
    )


class ArrayDocument(Schema):
    """An array as JSON."""

    shot: str
    device: str
    unit: str
    shape: list[int]
    values: list[Any] = Field(description="Row by row.")


class FeatureDefinition(Schema):
    """The definition of a feature."""

    name: str = Field(examples=["centroid_x"])
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    range: tuple[float | None, float | None] = Field(
        description="Lowest and highest value that can occur; null where there is no bound."
    )
    description: str
    source: str = Field(description="The standard or report that defines it, if any.")
    measured_on: str = Field(description="Which shots have it.", examples=["every shot"])


class FeatureCatalogue(Schema):
    """The definitions of all features."""

    features: list[FeatureDefinition]


class CharacterisationSummary(Schema):
    """The newest noise model or reference of a camera."""

    kind: CharacterisationKind
    version: int
    made_at: datetime
    start: datetime = Field(description="Time of the first frame that it was made from.")
    end: datetime = Field(description="Time of the last one.")
    frames: int


class DeviceSummary(Where):
    """A device of the facility, and its last known state."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    state: str | None = Field(description="At its newest record; null before the first.", examples=["ON"])
    time: datetime | None = Field(description="Time of its newest record.")
    characterisations: list[CharacterisationSummary] = Field(description="The newest of each kind.")


class DeviceList(Schema):
    """The devices of the facility."""

    devices: list[DeviceSummary]


class SeriesColumn(Schema):
    """A feature over time."""

    name: str = Field(examples=["centroid_x"])
    unit: str = Field(description="Empty for pure numbers.", examples=["px"])
    values: list[float | None] = Field(description="One per time; null where it could not be measured.")


class SeriesDocument(Schema):
    """Features of one device over time."""

    device: str = Field(examples=[DEVICE])
    times: list[datetime] = Field(description="Of the shots that have any of the features, ascending.")
    columns: list[SeriesColumn]


class TrendLine(Schema):
    """The straight line through a series (Theil-Sen)."""

    slope_per_hour: float
    total_change: float = Field(description="Along the line, from the first value to the last.")
    sigmas: float = Field(description="Total change in standard deviations of the noise about the line.")
    significant: bool = Field(description="Whether the slope is more than four of its standard errors.")


class DropOutSpan(Schema):
    """Consecutive shots with less than half of the usual energy, or none."""

    start: datetime
    end: datetime = Field(description="Time of the last of them.")
    shots: int


class MeterDisagreement(Schema):
    """|energy1 - energy2| over their mean, for the shots in which both are positive."""

    shots: int
    median: float | None
    largest: float | None
    limit: float = Field(description="Above it the two halves of a meter disagree.")
    above_limit: int = Field(description="Number of shots.")


class LightAgainstEnergy(Schema):
    """A camera's total intensity compared with the energy of the same shots; null for fewer than three."""

    camera: str = Field(examples=[DEVICE])
    shots: int
    ratio: float | None = Field(description="Median, counts/J.")
    spread: float | None = Field(description="Robust standard deviation of the ratio, relative to it.")
    correlation: float | None = Field(description="Spearman's; null when either did not vary.")


class EnergyDocument(Schema):
    """The energies of a meter over time, smoothed, with the results of their evaluation."""

    device: str = Field(examples=["LA_A1_11-EM_1-EnergyMeter-1"])
    unit: str = Field(examples=["J"])
    sigma_s: float = Field(description="Standard deviation of the Gaussian filter, s.")
    times: list[datetime]
    energy: list[float | None]
    smoothed: list[float | None] = Field(description="An outlier is left as it was measured.")
    outlier: list[bool] = Field(description="More than five robust standard deviations from the median.")
    drift: TrendLine | None = Field(description="Null for a series too short to tell.")
    drop_outs: list[DropOutSpan]
    disagreement: MeterDisagreement
    light: LightAgainstEnergy | None = Field(description="When a camera was named.")


class LevelChange(Schema):
    """A lasting step of a slow quantity."""

    time: datetime = Field(description="The first value after the change.")
    before: float = Field(description="Median since the change before.")
    after: float = Field(description="Median until the next change.")
    sigmas: float = Field(description="The step in standard deviations of the noise.")
    confidence: float = Field(description="One minus the probability that noise makes such a step.")


class NewestValue(Schema):
    """The rank of the newest value among all earlier ones."""

    time: datetime
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
    times: list[datetime] = Field(description="First shot of each median.")
    medians: list[float | None]
    trend: TrendLine | None = Field(description="Null for a series too short to tell.")
    changes: list[LevelChange]
    newest: NewestValue | None = Field(description="Null without values.")


class StateTime(Schema):
    """The time that a device was in a state."""

    state: str | None = Field(description="Null where records have none.", examples=["ON"])
    seconds: float
    share: float = Field(description="Of the recorded time, 0 to 1.")


class GapSummary(Schema):
    """Gaps in the records: the next record came more than 1.5 intervals after the previous one."""

    count: int
    total_s: float
    longest_s: float


class ChatterSummary(Schema):
    """Changes of state."""

    changes: int
    per_hour: float | None = Field(description="Of recorded time; null without records.")
    bursts: int = Field(description="How often the state changed four times or more within ten seconds.")


class ClockComparison(Schema):
    """The difference between the device's clock and that of another one of its place; positive if ahead."""

    against: str = Field(examples=["LA_A1_11-Camera_2-Camera-2"])
    offset_ms: float | None = Field(description="Median; null without pairs.")
    spread_ms: float | None = Field(description="Robust standard deviation.")
    pairs: int = Field(description="Records of the one that have a record of the other within half a period.")


class StateSegment(Schema):
    """A period without a gap or a change of state."""

    state: str | None = Field(examples=["ON"])
    start: datetime
    end: datetime


class DeviceReport(Where):
    """The operation of a device in a span of time, as shown by its records."""

    device: str = Field(examples=[DEVICE])
    kind: DeviceKind
    start: datetime
    end: datetime
    records: int
    first: datetime | None = Field(description="Time of the first record.")
    last: datetime | None = Field(description="Time of the last one.")
    states: list[StateTime] = Field(description="The state in which it works first, then the longest.")
    gaps: GapSummary = Field(description="Between the first record and the last.")
    chatter: ChatterSummary
    refused: Mapping[str, int] = Field(
        description="Reason → records that do not count, of all files that reach into the span."
    )
    clock: ClockComparison | None = Field(description="Null at a place with one device.")
    segments: list[StateSegment] = Field(
        description="States over time. More than a thousand are told in slots of a thousandth of the span, "
        "each in the rarest state that it has."
    )


class DeviceReports(Schema):
    """Reports of the devices that recorded anything in a span of time."""

    start: datetime
    end: datetime
    devices: list[DeviceReport]


class EventStanding(Schema):
    """The statements about an incident that count: the newest of each kind."""

    acknowledged_by: str | None
    acknowledged_caller: str | None = Field(
        description="The key or token of whoever acknowledged it, as `caller` of the statement."
    )
    snoozed_until: datetime | None = Field(description="May have passed.")
    verdict: FeedbackAction | None = Field(description="`false` or `confirmed`.")
    label: AnomalyKind | None = Field(description="What it was, when it is confirmed.")


class FeedbackStatement(Where):
    """A statement of a person about an event, with the subject of the event."""

    id: str
    event: str
    condition: str = Field(description="Id of the event that opened the condition.")
    shot: str = Field(examples=[SHOT_ID])
    revision: int
    time: datetime = Field(description="Time of the shot's pulse.")
    kind: AnomalyKind
    devices: list[str]
    model: str | None = Field(description="Version of the model that raised the event; null for no model.")
    action: FeedbackAction
    label: AnomalyKind | None = Field(description="What it really was, when it is confirmed.")
    until: datetime | None = Field(description="When it is snoozed.")
    who: str = Field(description="As whoever said it calls themselves.")
    caller: str = Field(
        description="Name of the API key, or `oidc:` and the subject of the token, with which it was said; "
        "empty in an API without keys, and for what was said before it was kept.",
        examples=["shift-a"],
    )
    note: str
    at: datetime = Field(description="When it was said.")


class EventFeedback(Schema):
    """All statements about the incident to which an event belongs."""

    standing: EventStanding
    statements: list[FeedbackStatement] = Field(description="Oldest first.")


class FeedbackPage(Schema):
    """One page of feedback."""

    statements: list[FeedbackStatement]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")


class Change(Schema):
    """A change that a caller requested, or that was made from the command line."""

    at: datetime
    who: str = Field(
        description="Name of the API key, `oidc:` and the subject of the token,"
        " or `os:` and the user and machine of a command line."
    )
    what: str = Field(description="Name of the operation.", examples=["give_feedback"])
    which: str = Field(description="What it was about; of a request, its path.")
    outcome: ChangeOutcome
    status: int | None = Field(description="HTTP status of the answer; null where no request was made.")
    trace_id: str = Field(description="Of the change's trace; empty when it had none.")
    address: str = Field(description="From which a request came; empty where no request was made.")
    count: int = Field(
        description="Requests that it stands for: one, or those refused in the rest of a minute."
    )


class AuditPage(Schema):
    """One page of the audit."""

    changes: list[Change]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")


class EventPage(Schema):
    """Events in the order of their numbers, complete up to the last."""

    events: list[AnomalyEvent]
    standings: Mapping[str, EventStanding] = Field(
        description="By condition: how those of them stand about which anything was said."
    )
    last: int = Field(description="Ask for events since this number next; all up to it have been searched.")
    more: bool = Field(description="Whether asking again at once may bring more.")
    reset: bool = Field(description="Whether `since` lies beyond the end; `last` is the present end then.")


class LedgerImbalance(Schema):
    """One thing on which two sources do not agree."""

    slice: str = Field(description="In which hour or day, such as `shots 2022-07-01T07`.")
    subject: str
    wrong: str


class LedgerEquality(Schema):
    """A comparison of two or more sources about the same things, in a span of time."""

    equality: Equality
    counts: Mapping[str, int] = Field(description="How much each source has.")
    imbalances: int
    named: list[LedgerImbalance] = Field(description="The first hundred imbalances.")
    under_way: int = Field(description="Things that are not accounted for yet, and not overdue.")
    pending: list[LedgerImbalance] = Field(description="The first hundred of them.")
    slices: int = Field(description="Hours or days that have something.")
    unchecked: int = Field(description="Those of them that have never been checked.")
    checked_at: datetime | None = Field(description="The check that was longest ago.")


class Balance(Schema):
    """The states of the objects that arrived in a span of time, and whether all sources agree on them."""

    start: datetime
    end: datetime
    objects: int
    bytes: int
    states: Mapping[ObjectState, int]
    reasons: Mapping[str, int]
    equalities: list[LedgerEquality]
    adds_up: bool | None = Field(
        description="No equality has an imbalance; null while a part of the span has never been checked."
    )


class LedgerStep(Schema):
    """One step of an object's history."""

    state: ObjectState
    stage: str
    attempt: int
    at: datetime
    why: str
    trace_id: str


class LedgerObject(Schema):
    """One version of an object, and what happened to it."""

    id: str
    bucket: str
    key: str
    etag: str
    size: int
    arrived_at: datetime
    state: ObjectState
    reason: str
    detail: str
    facts: Mapping[str, Any] = Field(description="What the stages noted: records, devices …")
    history: list[LedgerStep]


class LedgerPage(Schema):
    """One page of objects."""

    objects: list[LedgerObject]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")


class ModelRecord(Schema):
    """The accuracy of a version of the model, according to people's feedback."""

    raised: int = Field(description="Conditions that it raised an event about.")
    confirmed: int = Field(description="Those that somebody confirmed.")
    false: int = Field(description="Those that somebody called a false alarm.")


class ShadowOpinion(Schema):
    """The results of a version in shadow mode: beside the champion, without any effect on events."""

    shots: int = Field(description="Shots that it judged.")
    odd: int = Field(description="Those that it would have called odd.")


class ModelVersion(Schema):
    """A registered version of the model."""

    version: str
    created_at: datetime
    status: str
    run_id: str
    aliases: list[str]
    tags: Mapping[str, str]
    record: ModelRecord
    shadow: ShadowOpinion | None = Field(description="Null when it never was the challenger.")


class ModelLoad(Schema):
    """The version that a replica of inference has loaded for an alias."""

    replica: str
    alias: ModelAlias
    version: str | None = Field(description="The version that has the alias; null when none has it.")
    loaded: str | None = Field(description="The version that the replica judges with; null without one.")
    problem: str = Field(
        description="Why the two differ, and what judges instead; empty when nothing is wrong.",
        examples=[
            "champion: version 3 cannot be loaded: bundle.json does not exist; judging with rules only"
        ],
    )


class Model(Schema):
    """The model in the registry; without versions before the first training."""

    name: str
    aliases: Mapping[str, str] = Field(
        description="Alias → version; `champion` scores, `challenger` beside it in silence.",
        examples=[{"champion": "3", "challenger": "4"}],
    )
    versions: list[ModelVersion]
    loads: list[ModelLoad] = Field(
        description="What each replica of inference has loaded, as reported in the last half a minute."
    )
    promotion_differences: list[str] = Field(
        description="Promotions that the audit does not show, and lines of the audit of the last week about "
        "promotions that were not made; the first hundred. None if all is well.",
        examples=[[]],
    )


class ChampionChange(Schema):
    """A change of the champion to a version."""

    at: datetime
    who: str
    before: str | None = Field(description="Version that was champion until then; null for the first one.")
    version: str | None = Field(description="Version that is it from then on; null when none is.")
    why: str
    rollback: bool = Field(description="Whether an earlier champion came back.")
    digest: str = Field(
        description="SHA-256 of its bundle, without which inference does not load it: that of the lines that "
        "`sha256sum autoencoder.tflite bundle.json cameras.npz` prints. Empty before bundles were pinned."
    )


class FeatureShift(Schema):
    """A recent feature or score, compared with the training period of the champion."""

    name: str = Field(examples=["centroid_x"])
    centre: float = Field(description="Its median in the training period.")
    median: float = Field(description="Its median of late.")
    shift: float = Field(description="median - centre in robust standard deviations of the training period.")
    beyond: float | None = Field(
        description="Share of the newest shots more than three of them away; 0.003 of normal noise."
    )


class DeviceDrift(Schema):
    """The deviation of a device from the training period of the champion."""

    device: str = Field(examples=[DEVICE])
    start: datetime = Field(description="First data that was looked at.")
    end: datetime = Field(description="Newest data that was looked at.")
    features: list[FeatureShift] = Field(description="Furthest first.")


class DriftReport(Schema):
    """The drift of every device that the champion knows and that has recorded something since."""

    version: str | None = Field(description="The champion; null when there is none.")
    devices: list[DeviceDrift]


class ChampionHistory(Schema):
    """Every change of the champion, newest first."""

    promotions: list[ChampionChange]


class Health(Schema):
    """The state of each server behind this one: `ok`, or its problem."""

    status: str = Field(examples=["ok", "degraded"])
    database: str
    store: str
    models: str


class FacilityDevice(Schema):
    device: str = Field(examples=[DEVICE])
    kind: DeviceKind


class FacilityPlace(Where):
    """A place of the chain and the devices that belong to its shots."""

    devices: list[FacilityDevice]


class FacilityInterval(Schema):
    """The sampling period of a recorder, and the tolerance and lateness of its join."""

    name: str
    period_ms: int
    tolerance_ms: int
    lateness_s: float


class FacilityDocument(Schema):
    """The facility that this system watches."""

    name: str
    levels: list[str] = Field(
        description="Names of the levels of a place.", examples=[["frontend", "amp", "arm"]]
    )
    intervals: list[FacilityInterval]
    places: list[FacilityPlace]


class PlaceActivity(Where):
    """The newest shots of a place."""

    recorded_at: datetime = Field(description="Time of its newest record.")
    shot_at: datetime | None = Field(description="Time of its newest shot that was judged; null before it.")
    judged_at: datetime | None = Field(description="When that shot was judged.")
    shots_per_minute: float | None = Field(description="Over the shots below; null for fewer than two.")
    scores: list[float | None] = Field(
        description="Of up to a hundred newest shots, oldest first; null where no model scored one."
    )
    threshold: float | None = Field(description="From where on a score is an anomaly; null without a model.")


class PlaceActivities(Schema):
    """The most recent activity of each place that has recorded anything."""

    now: datetime = Field(description="By this server's clock.")
    places: list[PlaceActivity]


class CallerDocument(Schema):
    """The caller, and what they may do."""

    name: str = Field(description="Name of the API key, or `oidc:` and the subject of the token.")
    known: bool = Field(description="Whether callers must show a key or token; else the name says nothing.")
    scopes: list[Scope]
    trace_url: str | None = Field(
        description="Where a trace is shown, with `{trace_id}` in it; null when there is no such place."
    )


class Mistake(Schema):
    """One error in a request."""

    where: str
    what: str


class Problem(Schema):
    """The description of an error (RFC 9457)."""

    type: str = Field(
        "about:blank", description="Kind of problem; `about:blank` says that the title tells all."
    )
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=[f"there is no shot {SHOT_ID}"])
    instance: str = Field(description="Path of the request.")
    mistakes: list[Mistake] = Field(default=[], description="Of a request that makes no sense: each mistake.")
