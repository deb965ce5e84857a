"""The anomaly event: what operators and other programs subscribe to."""

from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from shotwatch_shots.message import Message
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity


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
    place: Place
    interval: str
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

    @property
    def series(self) -> ShotSeries:
        return ShotSeries(place=self.place, interval=self.interval)


class AnomalyEvent(BaseModel):
    """A CloudEvent (structured mode, JSON) on the topic exchange `anomalies`.

    Routing key: severity, a word for each level of the place, and kind: `anomaly.critical.LA.A1.11.hot_spot`.
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
        about = self.data
        return ".".join(("anomaly", about.severity, *about.place.levels, about.kind))

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
