"""The responses about the ledger."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasPath, BeforeValidator, Field

from shotwatch_query.schema import Instant, Schema
from shotwatch_shots.reconciliation.slices import Equality
from shotwatch_shots.vocabulary import ObjectState


def _known(checked_at: int) -> int | None:
    return checked_at or None


class LedgerImbalance(Schema):
    """One thing on which two sources do not agree."""

    slice: str = Field(description="In which hour or day, such as `shots 2022-07-01T07`.")
    subject: str = Field(validation_alias=AliasPath("imbalance", "subject"))
    wrong: str = Field(validation_alias=AliasPath("imbalance", "wrong"))


class LedgerEquality(Schema):
    """A comparison of two or more sources about the same things, in a span of time."""

    equality: Equality
    counts: Mapping[str, int] = Field(description="How much each source has.")
    imbalances: int
    named: list[LedgerImbalance] = Field(
        validation_alias="found", description="The first hundred imbalances."
    )
    under_way: int = Field(description="Things that are not accounted for yet, and not overdue.")
    pending: list[LedgerImbalance] = Field(description="The first hundred of them.")
    slices: int = Field(description="Hours or days that have something.")
    unchecked: int = Field(description="Those of them that have never been checked.")
    checked_at: Annotated[Instant | None, BeforeValidator(_known)] = Field(
        description="The check that was longest ago."
    )


class LedgerReport(Schema):
    """The states of the objects that arrived in a span of time, and whether all sources agree on them."""

    start: Instant
    end: Instant
    objects: int
    bytes: int
    states: Mapping[ObjectState, int]
    reasons: Mapping[str, int]
    equalities: list[LedgerEquality]
    adds_up: bool | None = Field(
        description="No equality has an imbalance; null while a part of the span has never been checked."
    )
    shots_deleted_until: Instant | None = Field(
        description="Shots judged before this time have been deleted, unless an event or a label is about "
        "them; null if none have been."
    )


class LedgerStep(Schema):
    """One step of an object's history."""

    state: ObjectState
    stage: str
    attempt: int
    at: Instant
    why: str
    trace_id: str


class LedgerObject(Schema):
    """One version of an object, and what happened to it."""

    id: str
    bucket: str
    key: str
    etag: str
    size: int
    arrived_at: Instant
    state: ObjectState
    reason: str
    detail: str
    facts: Mapping[str, object] = Field(description="What the stages noted: records, devices …")
    history: list[LedgerStep] = Field(description="Its last 20 steps, oldest first.")


class LedgerPage(Schema):
    """One page of objects."""

    objects: list[LedgerObject]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")
