"""The messages between services: one per file, or per batch of shots; columns and references, never pixels.

Every column of a message has one entry per record (or per shot), in the order of `times` (or `pulses`).
"""

from abc import abstractmethod
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shotwatch_common.vocabulary import AnomalyKind, DeviceKind, Phase, Severity

VALID = 0
"""The verdict of a good record; any other verdict n means `reasons[n - 1]`."""
ABSENT = -1
"""The source of a member that a shot does not have."""
MOST_DETAILED_REASONS = 64
"""So many different reasons of a device have details in one file, and in one window; later ones do not."""
LONGEST_REASON = 300
"""Characters; a longer detail is cut."""


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class StageMessage(Message):
    """What a stage takes from its queue."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many records or shots it is about."""


class PlaceRef(Message):
    """A place of the chain and the interval at which it is recorded."""

    frontend: str
    amp: str
    arm: str
    interval: str


class ObjectRef(Message):
    """One version of an object that arrived in the bucket."""

    object_id: str
    bucket: str
    key: str
    etag: str
    size: int
    arrived_at: int
    """Epoch ms when the store had it."""


class BlockRef(Message):
    """Where a block lies, and the object it was made from."""

    bucket: str
    key: str
    object_id: str
    object_key: str


class ImageDigest(Message):
    """What validation needs to know of each frame. Entries of absent frames are 0."""

    role: Literal["image"] = "image"
    minimum: list[float]
    maximum: list[float]
    saturated: list[int]
    """Pixels at or above the facility's saturation level."""
    fingerprint: list[int]
    """CRC-32 of the frame's bytes: equal for frames that are equal."""


class SpectrumDigest(Message):
    """What validation needs to know of each spectrum."""

    role: Literal["spectrum"] = "spectrum"
    minimum: list[float | None]
    maximum: list[float | None]
    total: list[float | None]


class EnergyDigest(Message):
    """Both energies of each record, null where not finite."""

    role: Literal["energy"] = "energy"
    energy1: list[float | None]
    energy2: list[float | None]


Digest = Annotated[ImageDigest | SpectrumDigest | EnergyDigest, Field(discriminator="role")]


class Problem(Message):
    """A record that could not be read as its device's data; `reason` is a RecordReason."""

    row: int
    reason: str
    detail: str


class DeviceRecords(Message):
    """The records of one device group in one file, as ingest read them."""

    device: str
    kind: DeviceKind
    place: PlaceRef
    block: BlockRef
    times: list[int]
    """Epoch ms, ascending, as recorded."""
    states: list[str]
    """The states that occur."""
    state: list[int]
    """Which of `states` each record has; -1 where the file has none."""
    problems: list[Problem]
    digest: Digest | None
    """None for devices without data of their own (state only)."""


class FileIngested(StageMessage):
    """ingest → validate: a file was read; its records lie in blocks."""

    object: ObjectRef
    devices: list[DeviceRecords]

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)


class JudgedRecords(Message):
    """The records of one device group with a verdict each."""

    device: str
    kind: DeviceKind
    place: PlaceRef
    block: BlockRef
    times: list[int]
    states: list[str]
    state: list[int]
    reasons: list[str]
    """The reasons that occur, as `reason` or `reason: detail`."""
    verdict: list[int]
    """VALID, or 1 + the index in `reasons`."""


class FileValidated(StageMessage):
    """validate → aggregate: every record of a file was judged."""

    object: ObjectRef
    devices: list[JudgedRecords]

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)


class Member(Message):
    """One device's part in a batch of shots; columns have one entry per shot."""

    device: str
    kind: DeviceKind
    blocks: list[BlockRef]
    source: list[int]
    """Index into `blocks`, ABSENT where the shot has no record of this device."""
    row: list[int]
    """Row in the block; 0 where absent."""
    reasons: list[str]
    verdict: list[int]
    """VALID, or 1 + the index in `reasons`; VALID where absent."""
    on: list[bool]
    """Whether the device was last known to be ON: an absent member of a device that is ON is an anomaly."""


class ShotsClosed(StageMessage):
    """aggregate → features: shots of one place and window that are complete or whose lateness is over."""

    batch_id: str
    window_id: str
    place: PlaceRef
    pulses: list[int]
    """Epoch ms of each shot's pulse."""
    revisions: list[int]
    """From 1; a shot whose members changed is closed again with the next one."""
    complete: list[bool]
    """Every kind of device of the place is there with a valid record."""
    members: list[Member]
    last_arrival: int
    """Epoch ms when the object that closed the batch arrived in the store."""

    @property
    def batch_size(self) -> int:
        return len(self.pulses)


class ShotsMeasured(StageMessage):
    """features → inference: the same shots; what was measured of them lies in the archive, by their batch."""

    shots: ShotsClosed

    @property
    def batch_size(self) -> int:
        return self.shots.batch_size


class ShotsFlagged(StageMessage):
    """inference → features: anomalous shots of a batch, to be examined closely."""

    batch_id: str
    shots: list[int]
    """Indices into the batch's columns."""

    @property
    def batch_size(self) -> int:
        return len(self.shots)


class Contribution(Message):
    """How far one feature is from its reference, and what it is."""

    device: str
    feature: str
    value: float
    reference: float
    sigmas: float
    """(value - reference) in robust standard deviations of the reference period."""
    unit: str


class Evidence(Message):
    """Where the arrays behind an event lie."""

    device: str
    block: str
    row: int
    raw_object: str


class ModelRef(Message):
    """The model that scored a shot."""

    name: str
    version: str
    run_id: str


class Anomaly(Message):
    """What is odd about a shot, and why: the `data` of an anomaly event."""

    sequence: int
    """Counts events of the whole system; a subscriber asks for everything after the last it saw."""
    shot: str
    revision: int
    time: int
    """Epoch ms of the pulse."""
    place: PlaceRef
    kind: AnomalyKind
    severity: Severity
    devices: list[str]
    score: float
    """Of what a model found: -log₁₀ of the probability that a usual shot deviates as much anywhere."""
    threshold: float
    why: str
    """One sentence for the person on shift."""
    contributions: list[Contribution]
    evidence: list[Evidence]
    image_url: str | None
    """Path of the frame that shows it best, in the REST API."""
    residual_url: str | None
    """Path of that frame minus its reconstruction, when a model scored it."""
    model: ModelRef | None
    """None for anomalies that a rule found."""
    condition: str
    """Id of the event that opened the condition: what lasts is one condition, told of by several events."""
    phase: Phase
    since: int
    """Epoch ms of the first shot that shows the condition."""
    until: int
    """Epoch ms of the last one so far."""
    shots: int
    """How many show it so far."""
    supersedes: list[str]
    """Ids of events of earlier revisions of the shot that are no longer true."""
    trace_id: str


class AnomalyEvent(BaseModel):
    """A CloudEvent (structured mode, JSON) on the topic exchange `anomalies`.

    Routing key: `anomaly.{severity}.{frontend}.{amp}.{arm}.{kind}`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: to_camel(name).lower(),
        populate_by_name=True,
    )

    spec_version: Literal["1.0"] = "1.0"
    id: str
    source: str
    """`/shotwatch/{facility}`."""
    type: Literal["shotwatch.anomaly.v1"] = "shotwatch.anomaly.v1"
    subject: str
    """The shot id."""
    time: str
    """RFC 3339 time of publication."""
    data_content_type: Literal["application/json"] = "application/json"
    trace_parent: str
    data: Anomaly

    @property
    def routing_key(self) -> str:
        place = self.data.place
        return f"anomaly.{self.data.severity}.{place.frontend}.{place.amp}.{place.arm}.{self.data.kind}"

    @classmethod
    def about(cls, anomaly: Anomaly, event_id: str, facility: str, traceparent: str) -> Self:
        """The event that tells of an anomaly, as of now."""
        return cls(
            id=event_id,
            source=f"/shotwatch/{facility}",
            subject=anomaly.shot,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            trace_parent=traceparent,
            data=anomaly,
        )

    def numbered(self, sequence: int) -> Self:
        """The same event with its sequence number."""
        return self.model_copy(update={"data": self.data.model_copy(update={"sequence": sequence})})


def reason_code(reasons: list[str], reason: str) -> int:
    """Return the verdict that means this reason (`reason` or `reason: detail`), and list it if it is new.

    Details come from files. The list stays short whatever they hold: its length is at most
    MOST_DETAILED_REASONS and one for each RecordReason.
    """
    reason = reason[:LONGEST_REASON]
    if reason not in reasons and len(reasons) >= MOST_DETAILED_REASONS:
        reason = reason.partition(":")[0]
    if reason not in reasons:
        reasons.append(reason)
    return VALID + 1 + reasons.index(reason)
