"""`shotwatch events`: list and show events, and give feedback on them."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import quote

import typer

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.events import event_record
from shotwatch_cli.failures import Failure
from shotwatch_cli.feedback import (
    contribution_table,
    event_table,
    fact_table,
    statement_table,
)
from shotwatch_cli.options import JsonOption, WhoOption
from shotwatch_cli.output import print_json, stdout
from shotwatch_cli.rest import RestApi
from shotwatch_common.clock import epoch_now
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction, Severity

events = typer.Typer(no_args_is_help=True, help="Anomaly events, and the feedback on them.")

_MOST = 1000
_NUMBER = re.compile(r"#?(\d{1,15})", re.ASCII)
_MINUTE_MS = 60_000


EventArgument = Annotated[
    str, typer.Argument(metavar="EVENT", help="Its number, as `shotwatch tail` shows it, or its id.")
]
EventsArgument = Annotated[
    list[str], typer.Argument(metavar="EVENT", help="Numbers as `shotwatch tail` shows them, or ids.")
]
NoteOption = Annotated[str, typer.Option("--note", help="Why.")]


@events.command("list")
def list_events(
    last: Annotated[int, typer.Option(min=1, max=_MOST, help="Number of latest events to select from.")] = 20,
    kind: Annotated[AnomalyKind | None, typer.Option(help="Events of this kind.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Events of this severity.")] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """List the latest events with the feedback on them. With --json one line per event.

    \b
    Examples:
      shotwatch events list
      shotwatch events list --last 500 --kind hot_spot
    """
    filters = {"kind": kind, "severity": severity}
    asked = {field: value for field, value in filters.items() if value is not None}
    found, standings = asyncio.run(_latest(find_deployment(root, name), last, asked))
    if not json:
        stdout.print(event_table(found, standings))
        return
    for event in found:
        print_json({"event": event_record(event), "standing": standings.get(event.data.incident)})


@events.command("show")
def show_event(
    named: EventArgument, name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False
) -> None:
    """Show what was wrong, where and how certain it is, and the feedback on it.

    \b
    Example:
      shotwatch events show 12
    """
    found, feedback = asyncio.run(_one(find_deployment(root, name), named))
    if json:
        print_json({"event": event_record(found), **feedback})
        return
    stdout.print(fact_table(found, feedback["standing"]))
    if found.data.contributions:
        stdout.print(contribution_table(found.data.contributions))
    if feedback["statements"]:
        stdout.print(statement_table(feedback["statements"]))


@events.command("ack")
def acknowledge(
    named: EventsArgument,
    who: WhoOption,
    note: NoteOption = "",
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Acknowledge an event: report that you have seen it and take care of it.

    \b
    Example:
      shotwatch events ack 12 --note "realigning the mirror"
    """
    opinion = {"action": FeedbackAction.ACKNOWLEDGED, "who": who, "note": note}
    _report(asyncio.run(_submit(find_deployment(root, name), named, opinion)), json)


@events.command("snooze")
def snooze(
    named: EventsArgument,
    who: WhoOption,
    minutes: Annotated[float, typer.Option(min=0, help="Duration; at most 30 days.")] = 60,
    note: NoteOption = "",
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Suppress notifications of this kind of event at its place for a while; the events are still recorded.

    The newest snooze of a kind at a place counts, so a short one ends a long one.

    \b
    Example:
      shotwatch events snooze 12 --minutes 30
    """
    until = epoch_now() + round(minutes * _MINUTE_MS)
    opinion = {"action": FeedbackAction.SNOOZED, "until": until, "who": who, "note": note}
    _report(asyncio.run(_submit(find_deployment(root, name), named, opinion)), json)


@events.command("false")
def call_false(
    named: EventsArgument,
    who: WhoOption,
    note: NoteOption = "",
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Report an event as a false alarm. Training then treats what it reported as normal.

    \b
    Example:
      shotwatch events false 12 13
    """
    opinion = {"action": FeedbackAction.FALSE, "who": who, "note": note}
    _report(asyncio.run(_submit(find_deployment(root, name), named, opinion)), json)


@events.command("confirm")
def confirm(
    named: EventsArgument,
    who: WhoOption,
    label: Annotated[
        AnomalyKind | None, typer.Option(help="What it really was. Default: the kind of the event.")
    ] = None,
    note: NoteOption = "",
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Confirm an event, and name what it was. Its shot never counts as normal in training.

    \b
    Example:
      shotwatch events confirm 12 --label pointing
    """
    opinion = {"action": FeedbackAction.CONFIRMED, "label": label, "who": who, "note": note}
    _report(asyncio.run(_submit(find_deployment(root, name), named, opinion)), json)


async def _latest(
    deployment: Deployment, last: int, filters: Mapping[str, str]
) -> tuple[list[AnomalyEvent], dict[str, Answer]]:
    """Return the latest events by number, and the state of the feedback on their incidents."""
    found: list[AnomalyEvent] = []
    standings: dict[str, Answer] = {}
    asked, more = {"latest": last}, True
    async with deployment.api() as api:
        while more:
            page = await api.get("/events", **asked, **filters, limit=_MOST)
            found += [AnomalyEvent.model_validate(event) for event in page["events"]]
            standings |= page["standings"]
            asked, more = {"since": page["last"]}, page["more"]
    return found, standings


async def _one(deployment: Deployment, named: str) -> tuple[AnomalyEvent, Answer]:
    async with deployment.api() as api:
        event = await _find(api, named)
        return event, await api.get(f"/events/{quote(event.id)}/feedback")


async def _submit(
    deployment: Deployment, named: Sequence[str], opinion: Mapping[str, object]
) -> list[Answer]:
    """Send the same feedback on each of these events, or on none if one of them does not exist."""
    async with deployment.api() as api:
        found = [await _find(api, each) for each in named]
        return [await api.post(f"/events/{quote(event.id)}/feedback", opinion) for event in found]


async def _find(api: RestApi, named: str) -> AnomalyEvent:
    """Return the event with this number or id.

    Raises:
        Failure: there is none.
    """
    numbered = _NUMBER.fullmatch(named)
    if numbered is None:
        return AnomalyEvent.model_validate(await api.get(f"/events/{quote(named, safe='')}"))
    number = int(numbered[1])
    page = await api.get("/events", since=max(number - 1, 0), limit=1)
    for event in map(AnomalyEvent.model_validate, page["events"]):
        if event.data.sequence == number:
            return event
    raise Failure(f"there is no event #{number}", "`shotwatch events list` shows the latest")


def _report(statements: Sequence[Answer], json: bool) -> None:
    if not json:
        stdout.print(statement_table(statements))
        return
    for statement in statements:
        print_json(statement)
