"""The responses about feedback."""

from pydantic import Field

from shotwatch_query.schema import SHOT_ID, Instant, Schema, Where
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction


class EventStanding(Schema):
    """The statements about an incident that count: the newest of each kind."""

    acknowledged_by: str | None
    acknowledged_caller: str | None = Field(
        description="The key or token of whoever acknowledged it, as `caller` of the statement."
    )
    snoozed_until: Instant | None = Field(description="May have passed.")
    verdict: FeedbackAction | None = Field(description="`false` or `confirmed`.")
    label: AnomalyKind | None = Field(description="What it was, when it is confirmed.")


class FeedbackStatement(Where):
    """A statement of a person about an event, with the subject of the event."""

    id: str
    event: str
    incident: str = Field(description="Id of the event that opened the incident.")
    shot: str = Field(examples=[SHOT_ID])
    revision: int
    time: Instant = Field(description="Time of the shot's pulse.")
    kind: AnomalyKind
    devices: list[str]
    model: str | None = Field(description="Version of the model that raised the event; null for no model.")
    action: FeedbackAction
    label: AnomalyKind | None = Field(description="What it really was, when it is confirmed.")
    until: Instant | None = Field(description="When it is snoozed.")
    who: str = Field(description="The name that the author gave.")
    caller: str = Field(
        description="Name of the API key, or `oidc:` and the subject of the token, with which it was made; "
        "empty in an API without keys, and for statements from before it was recorded.",
        examples=["shift-a"],
    )
    note: str
    at: Instant = Field(description="When it was made.")


class EventFeedback(Schema):
    """All statements about the incident to which an event belongs."""

    standing: EventStanding
    statements: list[FeedbackStatement] = Field(description="Oldest first.")


class FeedbackPage(Schema):
    """One page of feedback."""

    statements: list[FeedbackStatement]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")
