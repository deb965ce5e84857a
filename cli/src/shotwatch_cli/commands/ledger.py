"""`shotwatch ledger`: where every object is, and whether that adds up."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from shotwatch_cli.balance import Balance, take_balance
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import megabytes, moment, print_json, stdout, styled, table
from shotwatch_common.archive import Archive
from shotwatch_common.pulses import epoch_ms, epoch_now
from shotwatch_common.store import ObjectStore
from shotwatch_common.vocabulary import ObjectState

_CLOCKS_DIFFER_MS = 60_000


def ledger(
    start: FromOption = None,
    end: ToOption = None,
    objects: Annotated[bool, typer.Option("--objects", help="List the objects instead.")] = False,
    state: Annotated[ObjectState | None, typer.Option(help="With --objects: those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="With --objects: as many as this, oldest first.")] = 100,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show how the objects that arrived ended, and check that none is unaccounted for.

    In = ingested + rejected + ignored + waiting + dead-lettered, the ledger knows all that lies in the inbox,
    and the shots that came of them = judged + waiting + dead-lettered. Exit code 1 when it does not add up.

    \b
    Examples:
      shotwatch ledger --from 2022-07-01T07:00 --to 2022-07-01T08:00
      shotwatch ledger --objects --state rejected
    """
    deployment = find_deployment(root, name)
    span = (
        0 if start is None else epoch_ms(start),
        epoch_now() + _CLOCKS_DIFFER_MS if end is None else epoch_ms(end),
    )
    if objects:
        _show_objects(asyncio.run(_objects(deployment, span, state, limit)), json)
        return
    balance = asyncio.run(_balance(deployment, span))
    if json:
        print_json(balance.record())
    else:
        _show(balance)
    if balance.problems:
        raise typer.Exit(1)


async def _balance(deployment: Deployment, span: tuple[int, int]) -> Balance:
    settings = deployment.settings
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        return await take_balance(archive, store, settings, *span)


async def _objects(
    deployment: Deployment, span: tuple[int, int], state: ObjectState | None, limit: int
) -> list[dict[str, Any]]:
    async with Archive.of(deployment.settings) as archive:
        return await archive.ledger.objects(*span, state, limit)


def _show(balance: Balance) -> None:
    stdout.print(table("objects", ("", "objects#"), _balance_rows(balance)))
    stdout.print(table("shots", ("", "shots#"), _shot_rows(balance)))
    if balance.reasons:
        stdout.print(table("reasons", ("reason", "objects#"), sorted(balance.reasons.items())))
    stdout.print(f"in the inbox now: {balance.in_inbox}, in the error bucket: {balance.in_errors}")
    for problem in balance.problems:
        stdout.print(styled((f"it does not add up: {problem}", "bold red")))
    if not balance.problems:
        stdout.print(styled(("it adds up", "bold green")))


def _balance_rows(balance: Balance) -> Iterator[tuple[str, int]]:
    yield f"in ({megabytes(balance.bytes)})", balance.objects
    for state, count in balance.states.items():
        yield f"  {state}", count


def _shot_rows(balance: Balance) -> Iterator[tuple[str, int]]:
    yield "closed", balance.shots
    for state, count in balance.shot_states.items():
        yield f"  {state}", count


def _show_objects(objects: Sequence[Mapping[str, Any]], json: bool) -> None:
    if json:
        for each in objects:
            print_json(each)
        return
    columns = ("arrived", "key", "size#", "state", "reason", "detail")
    stdout.print(table(f"{len(objects)} objects", columns, map(_object_row, objects)))


def _object_row(each: Mapping[str, Any]) -> tuple[object, ...]:
    told = (each[name] for name in ("state", "reason"))
    return moment(each["arrived_at"]), each["key"], megabytes(each["size"]), *told, each.get("detail", "")
