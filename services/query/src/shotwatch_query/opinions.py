"""The feedback that a client may give on an event: request bodies, one for each action."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shotwatch_query.parameters import Moment
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction


class _Opinion(BaseModel):
    """The fields of every statement; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: str = Field(
        min_length=1,
        max_length=200,
        description="Name of the person who gives the feedback.",
        examples=["amelie"],
    )
    note: str = Field("", max_length=2000, description="Why.")


class Acknowledgement(_Opinion):
    """Somebody saw the event and takes care of it."""

    action: Literal[FeedbackAction.ACKNOWLEDGED]


class SnoozeUntil(_Opinion):
    """Notifications of this kind at this place are not wanted for a while."""

    action: Literal[FeedbackAction.SNOOZED]
    until: Moment = Field(
        description="RFC 3339 or epoch ms; within the next 30 days.", examples=["2022-07-01T08:00:00Z"]
    )


class FalseAlarmVerdict(_Opinion):
    """Nothing was wrong."""

    action: Literal[FeedbackAction.FALSE]


class Confirmation(_Opinion):
    """Something was wrong."""

    action: Literal[FeedbackAction.CONFIRMED]
    label: AnomalyKind | None = Field(None, description="What it really was; null = the kind of the event.")


Opinion = Annotated[
    Acknowledgement | SnoozeUntil | FalseAlarmVerdict | Confirmation, Field(discriminator="action")
]
