"""`shotwatch topology`: check that the broker's exchanges and queues exist."""

import asyncio

import typer

from shotwatch_cli.broker import connected
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import report

topology = typer.Typer(no_args_is_help=True, help="Exchanges and queues at the broker.")


@topology.callback()
def _group() -> None:
    """Keep `check` a subcommand, although it is the only one."""


@topology.command("check")
def check(name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False) -> None:
    """Name the exchanges and queues that are missing; exit code 1 if there are any.

    The set-up declares them, with an account of its own: `python -m shotwatch_operations.broker`.

    \b
    Example:
      shotwatch topology check
    """
    found = asyncio.run(_missing(find_deployment(root, name)))
    report(json, {"missing": found}, f"missing: {', '.join(found)}" if found else "all as it should be")
    if found:
        raise typer.Exit(1)


async def _missing(deployment: Deployment) -> list[str]:
    async with connected(deployment.broker_url) as connection:
        return await deployment.topology.missing(connection)
