"""`shotwatch dead`: list, show, reinject or purge the messages in the dead-letter queues."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

import typer

from shotwatch_cli.broker import connected
from shotwatch_cli.dead_letters import message_record, message_table, shown_message
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import JsonOption, read_time
from shotwatch_cli.output import print_json, stderr, stdout, styled
from shotwatch_common.archive import Archive
from shotwatch_common.topology import STAGES
from shotwatch_operations.broker.dead_letter_queue import DeadLetter
from shotwatch_operations.dead_letters import DeadLetterFilter, DeadLetters, Done
from shotwatch_shots.pulses import epoch_ms

dead = typer.Typer(no_args_is_help=True, help="Messages that a stage gave up (dead-lettered).")

Act = Callable[[DeadLetters, DeadLetterFilter, Done], Awaitable[None]]

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="Only these, by the ids that `list` shows.")
]
StageOption = Annotated[str | None, typer.Option("--stage", help=f"Of this stage: {', '.join(STAGES)}.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Messages whose reason contains this text.")]
SinceOption = Annotated[
    datetime | None,
    typer.Option("--since", parser=read_time, metavar="TIME", help="Dead-lettered from this time on, UTC."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show which messages it would be.")]


@dead.command("list")
def list_messages(
    stage: StageOption = None,
    reason: ReasonOption = "",
    since: SinceOption = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """List dead-lettered messages: stage, time, reason and trace. With --json one line per message.

    \b
    Examples:
      shotwatch dead list
      shotwatch dead list --stage validate --reason "gave up"
    """
    wanted = _wanted(stage, reason, since)
    _report("dead letters", asyncio.run(_find(find_deployment(root, name), wanted)), json)


@dead.command("show")
def show_message(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids that `list` shows.")],
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show why messages were dead-lettered, and their content.

    \b
    Example:
      shotwatch dead show 1f0c6a2d9b4e7783c5d1a0ff
    """
    wanted = DeadLetterFilter(ids=ids)
    found = asyncio.run(_find(find_deployment(root, name), wanted))
    _require_all(wanted, found)
    for message in found:
        if json:
            print_json(message_record(message, with_body=True))
        else:
            stdout.print(shown_message(message), soft_wrap=True)


@dead.command("reinject")
def reinject(
    ids: IdsArgument = None,
    stage: StageOption = None,
    reason: ReasonOption = "",
    since: SinceOption = None,
    dry_run: DryRunOption = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Send dead-lettered messages back to their stages, to be handled as if for the first time.

    Without ids and filters, all of them are sent. It can be run again after an interruption: a message may
    then be handled twice, which does no harm, and none is lost.

    \b
    Examples:
      shotwatch dead reinject --reason "gave up" --dry-run
      shotwatch dead reinject 1f0c6a2d9b4e7783c5d1a0ff
    """
    wanted = _wanted(stage, reason, since, ids)
    _act(DeadLetters.reinject, "reinjected", find_deployment(root, name), wanted, dry_run, json)


@dead.command("purge")
def purge(
    ids: IdsArgument = None,
    stage: StageOption = None,
    reason: ReasonOption = "",
    since: SinceOption = None,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Discard dead-lettered messages for good; the history of their objects records it.

    Without ids and filters, all of them are discarded.

    \b
    Examples:
      shotwatch dead purge --stage validate --reason wrong_message
      shotwatch dead purge --since 2022-07-01T07:00 --yes
    """
    wanted, deployment = _wanted(stage, reason, since, ids), find_deployment(root, name)
    if not (yes or dry_run):
        _confirm(asyncio.run(_find(deployment, wanted)))
    _act(DeadLetters.purge, "purged", deployment, wanted, dry_run, json)


def _wanted(
    stage: str | None, reason: str, since: datetime | None, ids: Sequence[str] | None = None
) -> DeadLetterFilter:
    if stage is not None and stage not in STAGES:
        raise Misuse(f"there is no stage {stage}", f"the stages are {', '.join(STAGES)}")
    return DeadLetterFilter(stage, reason, 0 if since is None else epoch_ms(since), tuple(ids or ()))


def _act(
    act: Act, past: str, deployment: Deployment, wanted: DeadLetterFilter, dry_run: bool, json: bool
) -> None:
    if dry_run:
        concerned, title = asyncio.run(_find(deployment, wanted)), f"would be {past}"
    else:
        concerned, title = asyncio.run(_acted(act, deployment, wanted)), past
    _report(title, concerned, json)
    _require_all(wanted, concerned)


def _confirm(concerned: Sequence[DeadLetter]) -> None:
    """Ask for confirmation on stderr, so that stdout stays for programs."""
    stderr.print(message_table("to be discarded", concerned))
    typer.confirm(f"Discard these {len(concerned)} messages permanently?", abort=True, err=True)


def _report(title: str, messages: Sequence[DeadLetter], json: bool) -> None:
    if json:
        for message in messages:
            print_json(message_record(message))
    elif messages:
        stdout.print(message_table(title, messages))
    else:
        stdout.print(styled(f"nothing {title}"))


def _require_all(wanted: DeadLetterFilter, found: Sequence[DeadLetter]) -> None:
    unknown = sorted(set(wanted.ids) - {message.id for message in found})
    if unknown:
        raise Failure(
            f"not in a dead-letter queue (any more): {', '.join(unknown)}",
            "`shotwatch dead list` shows what is",
        )


async def _find(deployment: Deployment, wanted: DeadLetterFilter) -> list[DeadLetter]:
    async with _dead_letters(deployment) as letters:
        return await letters.find(wanted)


async def _acted(act: Act, deployment: Deployment, wanted: DeadLetterFilter) -> list[DeadLetter]:
    done: list[DeadLetter] = []
    async with _dead_letters(deployment) as letters:
        await act(letters, wanted, done.append)
    return done


@asynccontextmanager
async def _dead_letters(deployment: Deployment) -> AsyncIterator[DeadLetters]:
    async with connected(deployment.broker_url) as connection, Archive.of(deployment.settings) as archive:
        yield DeadLetters(connection, archive, deployment.topology)
