"""`shotwatch bucket`: the buckets of the object store."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from shotwatch_cli.deployment import ROOT, NameOption, RootOption, find_deployment, settings_as
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import print_json, stdout, styled, table
from shotwatch_operations.store.setup import ConfigurableStore, PartState, SetupResult, SetupSettings, set_up

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Change nothing; report what is missing, but not what the store does not support."
    ),
]

bucket = typer.Typer(no_args_is_help=True, help="The buckets of the object store.")

_STYLES = {
    PartState.THERE: "green",
    PartState.MADE: "bold green",
    PartState.MISSING: "yellow",
    PartState.UNSUPPORTED: "yellow",
    PartState.REFUSED: "bold red",
}


@bucket.callback()
def _group() -> None:
    """Keep `setup` a subcommand, although it is the only one."""


@bucket.command("setup")
def setup(
    dry_run: DryRunOption = False, name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False
) -> None:
    """Create the buckets, enable object notifications, and set the expiry of old blocks. It may be run again.

    What the store does not support is reported, and the rest is done. Exit code 1 when the store refuses
    something. Set SHOTWATCH_BLOCK_DAYS, SHOTWATCH_RAW_TIER, SHOTWATCH_RAW_TIER_DAYS and
    SHOTWATCH_EVENT_TARGET to configure it.

    \b
    Examples:
      shotwatch bucket setup --dry-run
      SHOTWATCH_BLOCK_DAYS=7 shotwatch bucket setup
    """
    settings = settings_as(SetupSettings, find_deployment(root, name).environment)
    findings = asyncio.run(_set_up(settings, dry_run))
    _show(findings, json)
    if any(finding.state is PartState.REFUSED for finding in findings):
        raise typer.Exit(1)


async def _set_up(settings: SetupSettings, dry_run: bool) -> list[SetupResult]:
    async with ConfigurableStore.of(settings) as store:
        return [finding async for finding in set_up(store, settings, dry_run)]


def _show(findings: Iterable[SetupResult], json: bool) -> None:
    if json:
        for finding in findings:
            print_json(asdict(finding))
    else:
        stdout.print(table("", ("bucket", "what", "", "so"), map(_row, findings)))


def _row(finding: SetupResult) -> tuple[object, ...]:
    return finding.bucket, finding.what, styled((finding.state, _STYLES[finding.state])), finding.detail
