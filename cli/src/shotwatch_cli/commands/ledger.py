"""`shotwatch ledger`: where every object is, and whether all sources agree."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from shotwatch_cli.balance import LedgerBalance, reconciling, take_balance
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import megabytes, moment, print_json, stderr, stdout, styled, table
from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import ObjectStore
from shotwatch_shots.ledger import ObjectEntry
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.reconciliation.slices import BEGINNING, Slice
from shotwatch_shots.reconciliation.summary import Summary
from shotwatch_shots.vocabulary import ObjectState

_CLOCKS_DIFFER_MS = 60_000


def ledger(
    start: FromOption = None,
    end: ToOption = None,
    objects: Annotated[bool, typer.Option("--objects", help="List the objects instead.")] = False,
    state: Annotated[
        ObjectState | None, typer.Option(help="With --objects: only objects in this state.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="With --objects: maximum number, oldest first.")] = 100,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Check everything again, not only what changed lately.")
    ] = False,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show how the objects that arrived ended, and check that all sources agree on them.

    Objects: buckets and ledger. Records: blocks, validation and windows. Shots: windows, shots and batches.
    Events: stored, numbered and confirmed. Exit code 1 when they do not agree; each imbalance is named.
    --from and --to select objects by hour of arrival, shots by their own time, and files by the day in their
    name.

    \b
    Examples:
      shotwatch ledger --from 2022-07-01T07:00 --to 2022-07-01T08:00
      shotwatch ledger --objects --state rejected
    """
    deployment = find_deployment(root, name)
    span = (
        BEGINNING if start is None else epoch_ms(start),
        epoch_now() + _CLOCKS_DIFFER_MS if end is None else epoch_ms(end),
    )
    if objects:
        _show_objects(asyncio.run(_objects(deployment, span, state, limit)), json)
        return
    balance = asyncio.run(_balance(deployment, span, recheck))
    if json:
        print_json(balance.record())
    else:
        _show(balance)
    if not balance.adds_up:
        raise typer.Exit(1)


async def _balance(deployment: Deployment, span: tuple[int, int], recheck: bool) -> LedgerBalance:
    settings = deployment.settings
    async with (
        ObjectStore.of(settings) as store,
        Archive.of(settings) as archive,
        reconciling(archive, store, settings) as reconciler,
    ):
        with stderr.status("checking") as status:

            def progress(slice_: Slice, left: int) -> None:
                status.update(f"checking {slice_}, {left} left")

            return await take_balance(archive, reconciler, *span, recheck, progress)


async def _objects(
    deployment: Deployment, span: tuple[int, int], state: ObjectState | None, limit: int
) -> list[ObjectEntry]:
    async with Archive.of(deployment.settings) as archive:
        return await archive.ledger.objects(*span, state, limit)


def _show(balance: LedgerBalance) -> None:
    stdout.print(table("objects", ("", "objects#"), _balance_rows(balance)))
    if balance.tally.reasons:
        stdout.print(table("reasons", ("reason", "objects#"), sorted(balance.tally.reasons.items())))
    columns = ("", "slices#", "counts", "under way#", "imbalances#")
    stdout.print(table("equalities", columns, map(_summary_row, balance.summaries)))
    for waiting in balance.pending:
        stdout.print(Text(f"under way: {waiting}"), soft_wrap=True)
    for problem in balance.problems:
        stdout.print(styled((problem, "bold red")), soft_wrap=True)
    stdout.print(_verdict(balance))


def _verdict(balance: LedgerBalance) -> Text:
    if balance.imbalances:
        imbalances = "1 imbalance" if balance.imbalances == 1 else f"{balance.imbalances} imbalances"
        return styled((f"it does not add up: {imbalances}", "bold red"))
    if balance.unchecked:
        return styled((f"{balance.unchecked} slices have not been checked yet", "bold red"))
    waiting = f"; {balance.under_way} are still under way" if balance.under_way else ""
    return styled((f"it adds up{waiting}", "bold green"))


def _summary_row(summary: Summary) -> tuple[object, ...]:
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in summary.counts.items())
    return summary.equality, summary.slices, counts, summary.under_way, summary.imbalances


def _balance_rows(balance: LedgerBalance) -> Iterator[tuple[str, int]]:
    yield f"in ({megabytes(balance.tally.bytes)})", balance.tally.objects
    for state, count in balance.tally.states.items():
        yield f"  {state}", count


def _show_objects(objects: Sequence[ObjectEntry], json: bool) -> None:
    if json:
        for each in objects:
            print_json(_object_record(each))
        return
    columns = ("arrived", "key", "size#", "state", "reason", "detail")
    stdout.print(table(f"{len(objects)} objects", columns, map(_object_row, objects)))


def _object_row(each: ObjectEntry) -> tuple[object, ...]:
    ref = each.ref
    return moment(ref.arrived_at), ref.key, megabytes(ref.size), each.state, each.reason, each.detail


def _object_record(each: ObjectEntry) -> Mapping[str, object]:
    return {
        **each.ref.model_dump(),
        "state": each.state,
        "since": each.since,
        "reason": each.reason,
        "detail": each.detail,
        "seen_at": each.seen_at,
        "joined_at": each.joined_at,
        "location": each.location and {"bucket": each.location[0], "key": each.location[1]},
        **each.facts,
        "history": [asdict(step) for step in each.history],
    }
