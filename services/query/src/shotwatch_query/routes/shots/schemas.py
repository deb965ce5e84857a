"""The responses about shots."""

from typing import Self

from pydantic import Field

from shotwatch_query.schema import DEVICE, SHOT_ID, Instant, Schema, Where
from shotwatch_shots.batch import MemberRecord
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.event import ModelRef
from shotwatch_shots.vocabulary import AnomalyKind, Severity


class ShotSummary(Where):
    """A shot as shown in a listing."""

    id: str = Field(examples=[SHOT_ID])
    time: Instant = Field(description="Time of the pulse.")
    revision: int = Field(description="Counts how often the shot was closed, from 1.")
    complete: bool = Field(description="Every kind of device of the place is there with a valid record.")
    missing: list[str] = Field(description="Devices without a record in this shot.")
    score: float | None = Field(
        description="Score: -log10 of the probability that a normal shot deviates as much anywhere; 4.6 is "
        "once an hour at 10 Hz. Null when no model scored it."
    )
    threshold: float | None = Field(description="A score above this is an anomaly.")
    kinds: list[AnomalyKind] = Field(description="Kinds of anomalies of its newest revision.")
    severity: Severity | None = Field(description="The highest severity of its anomalies.")


class ShotPage(Schema):
    """One page of shots."""

    shots: list[ShotSummary]
    next: str | None = Field(
        description="Cursor of the next page; null when there is none. A page may hold fewer shots than "
        "asked for, even none, and yet have a next one: the search for something rare goes on from there."
    )


class MeasuredFeature(Schema):
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
    at: Instant
    complete: bool


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
    object_id: str | None = Field(description="Id of that object in the ledger.")

    @classmethod
    def of(cls, member: MemberRecord) -> Self:
        ref = member.block
        return cls(
            device=member.device,
            kind=member.kind,
            verdict=member.verdict,
            on=member.on,
            block=ref and ref.key,
            row=member.row,
            raw_object=ref and ref.object_key,
            object_id=ref and ref.object_id,
        )


class ShotDetails(ShotSummary):
    """All data of a shot."""

    members: list[ShotMember]
    features: list[MeasuredFeature]
    reasons: Reasons
    revisions: list[Revision]
    model: ModelRef | None = Field(description="Name, version and run of the model that scored it.")
    trace_id: str | None = Field(description="The trace in which it was judged.")
