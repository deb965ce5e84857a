"""Events and the feedback on them, as people read them."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from shotwatch_cli.answers import Answer
from shotwatch_cli.events import SEVERITY_STYLES, place_of
from shotwatch_cli.output import moment, styled, table
from shotwatch_shots.event import Anomaly, AnomalyEvent, Contribution

_EVENT_COLUMNS = ("event#", "time", "place", "severity", "kind", "why", "feedback")
_CONTRIBUTION_COLUMNS = ("device", "feature", "value#", "reference#", "sigmas#", "unit")
_STATEMENT_COLUMNS = ("event", "at", "who", "action", "label", "until", "note")


def event_table(events: Sequence[AnomalyEvent], standings: Mapping[str, Answer]) -> Table:
    """Return a table with a row for each event; `standings` maps an incident to the state of its feedback."""
    rows = [_event_row(event.data, standings.get(event.data.incident)) for event in events]
    return table(f"{len(events)} events", _EVENT_COLUMNS, rows)


def fact_table(event: AnomalyEvent, standing: Answer) -> Table:
    """Return a table with the facts of one event and the state of its feedback."""
    return table(f"event #{event.data.sequence}", ("", "value"), _facts(event, standing))


def contribution_table(contributions: Sequence[Contribution]) -> Table:
    rows = [
        (
            each.device,
            each.feature,
            f"{each.value:.4g}",
            f"{each.reference:.4g}",
            f"{each.sigmas:+.1f}",
            each.unit,
        )
        for each in contributions
    ]
    return table("what is unusual", _CONTRIBUTION_COLUMNS, rows)


def statement_table(statements: Sequence[Answer]) -> Table:
    signed = ({**each, "who": signature(each["who"], each["caller"])} for each in statements)
    rows = [[each[column] or "" for column in _STATEMENT_COLUMNS] for each in signed]
    return table("feedback", _STATEMENT_COLUMNS, rows)


def standing_words(standing: Answer | None) -> str:
    """Return `confirmed: hot_spot, acknowledged by amelie`; empty if there is no feedback."""
    return ", ".join(_words(standing)) if standing else ""


def signature(who: str, caller: str | None) -> str:
    """Return `amelie (key shift-a)`, or `amelie (oidc:1234)`: the given name, and the key or token used.

    It is the name alone if there was no key or token, or if the feedback is older than this record of
    callers.
    """
    if not caller:
        return who
    return f"{who} ({caller})" if caller.startswith("oidc:") else f"{who} (key {caller})"


def _words(standing: Answer) -> Iterator[str]:
    if verdict := standing["verdict"]:
        yield f"{verdict}: {standing['label']}" if standing["label"] else verdict
    if who := standing["acknowledged_by"]:
        yield f"acknowledged by {signature(who, standing['acknowledged_caller'])}"
    if until := standing["snoozed_until"]:
        yield f"snoozed until {until}"


def _event_row(anomaly: Anomaly, standing: Answer | None) -> tuple[object, ...]:
    severity = styled((anomaly.severity, SEVERITY_STYLES[anomaly.severity]))
    when_and_where = anomaly.sequence, moment(anomaly.time), place_of(anomaly)
    return *when_and_where, severity, anomaly.kind, anomaly.why, standing_words(standing)


def _facts(event: AnomalyEvent, standing: Answer) -> Iterator[tuple[str, object]]:
    anomaly = event.data
    yield "why", anomaly.why
    yield "id", event.id
    yield "shot", anomaly.shot
    yield "devices", ", ".join(anomaly.devices)
    yield "kind", anomaly.kind
    yield "severity", styled((anomaly.severity, SEVERITY_STYLES[anomaly.severity]))
    yield "score", f"{anomaly.score:.3g} (threshold {anomaly.threshold:.3g})"
    yield "provisional", "yes" if anomaly.provisional else "no"
    yield "incident", f"{anomaly.phase}: {anomaly.shots} shots"
    yield "since", moment(anomaly.since)
    yield "until", moment(anomaly.until)
    yield "image", anomaly.image_url or "none"
    yield "residual", anomaly.residual_url or "none"
    yield "model", f"version {anomaly.model.version}" if anomaly.model else "none: a rule"
    yield "feedback", standing_words(standing) or "none"
