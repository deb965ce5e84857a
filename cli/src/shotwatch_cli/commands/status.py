"""`shotwatch status`: the processes, the queues, the ledger, the latest event and the model."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from shotwatch_cli.broker import connected
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.events import event_line, event_record
from shotwatch_cli.failures import AWAY, Failure, as_failure
from shotwatch_cli.models import load_problems
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import megabytes, print_json, stdout, styled, table
from shotwatch_cli.processes import process_record, process_table
from shotwatch_cli.queues import StageQueues, stage_queues
from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.printable import printable
from shotwatch_common.topology import STAGES
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.vocabulary import ModelAlias

Shown = Table | Text | str

_LAST_NUMBERS = 100
"""Event numbers may have gaps: the newest event is among this many of the highest numbers."""

_QUEUE_COLUMNS = ("ready", "consumers", "retrying", "dead-lettered")


def status(name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False) -> None:
    """Show servers and services, queues, the ledger of the last 24 hours, the latest event and the model.

    \b
    Examples:
      shotwatch status
      shotwatch status --json | jq .queues
    """
    deployment = find_deployment(root, name)
    parts = asyncio.run(_ask(deployment))
    if json:
        print_json(
            {
                "processes": [process_record(process) for process in deployment.processes],
                "query_url": deployment.query_url,
                **{title: part.record for title, part in parts.items()},
            }
        )
        return
    if deployment.processes:
        stdout.print(process_table("servers and services", deployment.processes))
    for page in deployment.page_urls:
        stdout.print(f"live page: {page}", soft_wrap=True)
    for title, part in parts.items():
        stdout.print(_titled(title.replace("_", " "), part.shown), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class StatusSection:
    """One part of the status, for people and for programs."""

    shown: Shown
    record: object


def _titled(title: str, shown: Shown) -> Table | Text:
    return shown if isinstance(shown, Table) else styled(f"{title}: ", shown)


async def _ask(deployment: Deployment) -> dict[str, StatusSection]:
    """Return every part; a part whose server does not answer reports that."""
    asked = {
        "queues": _queues,
        "ledger": _ledger,
        "latest_event": _latest_event,
        "champion": _champion,
        "model_problems": _model_problems,
    }
    parts = await asyncio.gather(*(_or_error(ask(deployment)) for ask in asked.values()))
    return dict(zip(asked, parts, strict=True))


async def _or_error(asked: Awaitable[StatusSection]) -> StatusSection:
    try:
        return await asked
    except (Failure, *AWAY) as error:
        why = str(as_failure(error))
        return StatusSection(styled((why, "red")), {"error": why})


async def _queues(deployment: Deployment) -> StatusSection:
    async with connected(deployment.broker_url) as connection:
        stages = [await stage_queues(connection, stage, deployment.topology) for stage in STAGES]
    shown = table("queues", ("stage", *(f"{column}#" for column in _QUEUE_COLUMNS)), map(_queue_row, stages))
    return StatusSection(shown, [asdict(stage) for stage in stages])


async def _ledger(deployment: Deployment) -> StatusSection:
    now = epoch_now()
    async with Archive.of(deployment.settings) as archive:
        tally = await archive.ledger.tally(now - DAY_MS, now)
        imbalances = sum(each.outcome.total for each in await archive.reconciliations.imbalanced())
    states = ", ".join(f"{count} {state}" for state, count in tally.states.items())
    shown = f"in 24 hours {tally.objects} objects ({megabytes(tally.bytes)}): {states}"
    text = f"{shown}; {imbalances} imbalances in all: `shotwatch ledger` names them" if imbalances else shown
    record = {
        "objects": tally.objects,
        "bytes": tally.bytes,
        "states": tally.states,
        "imbalances": imbalances,
    }
    return StatusSection(Text(text, style="bold red") if imbalances else text, record)


async def _latest_event(deployment: Deployment) -> StatusSection:
    async with Archive.of(deployment.settings) as archive:
        last = await archive.events.last_number()
        newest = await archive.events.numbered(last - _LAST_NUMBERS, last)
    if not newest:
        return StatusSection("none", None)
    event = newest[-1].event
    return StatusSection(event_line(event), event_record(event))


async def _champion(deployment: Deployment) -> StatusSection:
    async with deployment.api() as api:
        model = await api.get("/models")
    version = model["aliases"].get("champion")
    return StatusSection(f"version {version}" if version else "none yet: only rules judge", version)


async def _model_problems(deployment: Deployment) -> StatusSection:
    async with deployment.api() as api:
        model = await api.get("/models")
    problems = [problem for alias in ModelAlias for problem in load_problems(model, alias)]
    problems += model["promotion_differences"]
    return StatusSection(
        styled(("; ".join(map(printable, problems)), "bold red")) if problems else "none", problems
    )


def _queue_row(queues: StageQueues) -> tuple[object, ...]:
    if queues.missing:
        return queues.stage, styled(("not declared", "red")), "", "", ""
    dead_lettered = styled((str(queues.dead_lettered), "bold red" if queues.dead_lettered else ""))
    consumers = styled((str(queues.consumers), "" if queues.consumers else "bold red"))
    return queues.stage, queues.ready, consumers, queues.retrying, dead_lettered
