"""The anomaly event: what operators and other programs subscribe to."""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from shotwatch_shots.message import Message
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import instant
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity

DATA_SCHEMA: Final = "urn:shotwatch:anomaly:v1"
"""The URI of the schema of an event's data, docs/schemas/Anomaly.v1.json.

docs/schemas/README.md describes which changes need a new version.
"""


class EventPart(Message):
    """A part of an event. It ignores unknown fields, because later releases may add some to this version."""

    model_config = ConfigDict(extra="ignore")


class Contribution(EventPart):
    """One feature's deviation from its reference."""

    device: str
    feature: str
    value: float
    reference: float
    sigmas: float
    """(value - reference) in robust standard deviations of the reference period."""
    unit: str


class Evidence(EventPart):
    """The location of the arrays behind an event."""

    device: str
    block: str
    row: int
    raw_object: str


class ModelRef(EventPart):
    """The model that scored a shot."""

    name: str
    version: str
    run_id: str


class Anomaly(EventPart):
    """An anomaly of a shot, with its reasons and evidence: the `data` of an anomaly event."""

    sequence: int
    """Counts the events of the whole system.

    A subscriber can request everything after the last one it received.
    """
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
    """For a model's anomaly: -log₁₀ of the probability that a normal shot deviates as much in any feature.

    It is limited to ten times the rarity of the threshold, or of what the model's learned shots support.
    """
    threshold: float
    why: str
    """One sentence for the person on shift."""
    contributions: list[Contribution]
    evidence: list[Evidence]
    image_url: str | None
    """Path, in the REST API, of the frame that shows the anomaly best."""
    residual_url: str | None
    """Path of that frame minus its reconstruction, if a model scored it."""
    model: ModelRef | None
    """None for anomalies that a rule found."""
    provisional: bool = False
    """Whether the independent shots that the model learned from, and the past of the place, support less than
    the threshold.

    False for anomalies that a rule found, and in events of releases before this attribute.
    """
    incident: str
    """Id of the event that opened the incident.

    An anomaly that lasts is one incident, with several events.
    """
    phase: Phase
    since: int
    """Epoch ms of the first shot that shows the incident."""
    until: int
    """Epoch ms of the last such shot so far."""
    shots: int
    """Number of such shots so far."""
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
        extra="ignore",
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
    """When the event was made, RFC 3339."""
    data_content_type: Literal["application/json"] = "application/json"
    data_schema: Literal["urn:shotwatch:anomaly:v1"] = DATA_SCHEMA
    """Events of releases before this attribute lack it; they are of version 1, too."""
    trace_parent: str
    data: Anomaly

    @property
    def routing_key(self) -> str:
        about = self.data
        return ".".join(("anomaly", about.severity, *about.place.levels, about.kind))

    @classmethod
    def about(cls, anomaly: Anomaly, event_id: str, facility: str, traceparent: str, made_at: int) -> Self:
        """Create the event for an anomaly; `made_at` is epoch ms."""
        return cls(
            id=event_id,
            source=f"/shotwatch/{facility}",
            subject=anomaly.shot,
            time=instant(made_at).isoformat(timespec="milliseconds"),
            trace_parent=traceparent,
            data=anomaly,
        )

    def numbered(self, sequence: int) -> Self:
        """Return the same event with its sequence number."""
        return self.model_copy(update={"data": self.data.model_copy(update={"sequence": sequence})})
