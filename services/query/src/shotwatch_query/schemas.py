"""What the REST API answers, as its OpenAPI describes it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.vocabulary import AnomalyKind, DeviceKind, ObjectState, Severity

SHOT_ID = "LA-A1-11-100ms-20220701T073300.100"
DEVICE = "LA_A1_11-Camera_1-Camera-1"


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


class Where(Schema):
    """A place in the amplifier chain and the interval at which it is recorded."""

    frontend: str = Field(description="Beam line.", examples=["LA"])
    amp: str = Field(description="Amplifier or diagnostics.", examples=["A1"])
    arm: str = Field(description="Arm; `00` where there is none.", examples=["11"])
    interval: str = Field(description="Sampling period of the recorders.", examples=["100ms"])


class ShotSummary(Where):
    """A shot as a listing shows it."""

    id: str = Field(examples=[SHOT_ID])
    time: datetime = Field(description="Time of the pulse.")
    revision: int = Field(description="Counts how often the shot was closed, from 1.")
    complete: bool = Field(description="Every kind of device of the place is there with a valid record.")
    missing: list[str] = Field(description="Devices without a record in this shot.")
    score: float | None = Field(
        description="How odd: its largest deviation over its limit. Null when no model scored it."
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
    """One device's part in a shot."""

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
    """A number measured of one device in a shot; what could not be measured is left out."""

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
    """An anomaly event of a shot in short."""

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
    """Why a shot is not as it should be; all empty for a good one."""

    missing: list[str]
    refused: list[Refusal]
    anomalies: list[AnomalySummary] = Field(description="Events of every revision, in order of publication.")


class Revision(Schema):
    """One closing of a shot."""

    revision: int
    at: datetime
    complete: bool


class Shot(ShotSummary):
    """Everything that is known of a shot."""

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


class EventPage(Schema):
    """Events in the order of their numbers, none left out before the last."""

    events: list[AnomalyEvent]
    last: int = Field(description="Ask for events since this number next; all up to it have been searched.")
    more: bool = Field(description="Whether asking again at once may bring more.")


class Balance(Schema):
    """How the objects that arrived in a span of time ended."""

    start: datetime
    end: datetime
    objects: int
    bytes: int
    states: Mapping[ObjectState, int]
    reasons: Mapping[str, int]
    adds_up: bool = Field(description="Every object is in exactly one state.")


class LedgerStep(Schema):
    """One step of an object's history."""

    state: ObjectState
    stage: str
    at: datetime
    why: str
    trace_id: str


class LedgerObject(Schema):
    """One version of an object, and what became of it."""

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


class ModelVersion(Schema):
    """A registered version of the model."""

    version: str
    created_at: datetime
    status: str
    run_id: str
    aliases: list[str]
    tags: Mapping[str, str]


class Model(Schema):
    """The model in the registry; without versions before the first training."""

    name: str
    aliases: Mapping[str, str] = Field(
        description="Alias → version; `champion` scores.", examples=[{"champion": "3"}]
    )
    versions: list[ModelVersion]


class Health(Schema):
    """Whether each server behind this one answers: `ok`, or what it says."""

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
    """The sampling period of a recorder, and how patient its join is."""

    name: str
    period_ms: int
    tolerance_ms: int
    lateness_s: float


class FacilityDocument(Schema):
    """The facility that this system watches."""

    name: str
    intervals: list[FacilityInterval]
    places: list[FacilityPlace]


class Mistake(Schema):
    """One thing that is wrong with a request."""

    where: str
    what: str


class Problem(Schema):
    """What went wrong (RFC 9457)."""

    type: str = Field(
        "about:blank", description="Kind of problem; `about:blank` says that the title tells all."
    )
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=[f"there is no shot {SHOT_ID}"])
    instance: str = Field(description="Path of the request.")
    mistakes: list[Mistake] = Field(default=[], description="Of a request that makes no sense: each mistake.")
