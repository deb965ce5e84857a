"""`shotwatch topology`: are exchanges and queues as the code wants them, and make them so."""

import asyncio

import typer
from aio_pika.exceptions import ChannelPreconditionFailed

from shotwatch_cli.broker import connected, drifted
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import tell
from shotwatch_common.topology import declare_topology

topology = typer.Typer(no_args_is_help=True, help="Exchanges, queues and bindings at the broker.")


@topology.command("check")
def check(name: NameOption = None, root: RootOption = ROOT, json: JsonOption = False) -> None:
    """Say which exchanges and queues are missing or are others than ours; exit code 1 if any is.

    \b
    Example:
      shotwatch topology check
    """
    found = asyncio.run(_drifted(find_deployment(root, name)))
    shown = f"missing, or others than ours: {', '.join(found)}" if found else "all as it should be"
    tell(json, {"drifted": found}, shown)
    if found:
        raise typer.Exit(1)


@topology.command("apply")
def apply(name: NameOption = None, root: RootOption = ROOT) -> None:
    """Declare what is missing, bindings too. What is another than ours is named: messages may lie in it.

    \b
    Example:
      shotwatch topology apply
    """
    asyncio.run(_apply(find_deployment(root, name)))


async def _drifted(deployment: Deployment) -> list[str]:
    async with connected(deployment.broker_url) as connection:
        return await drifted(connection)


async def _apply(deployment: Deployment) -> None:
    async with connected(deployment.broker_url) as connection, connection.channel() as channel:
        try:
            await declare_topology(channel)
        except ChannelPreconditionFailed as error:
            advice = "empty it, delete it (`rabbitmqctl delete_queue NAME`), and apply again"
            raise Failure(f"one is there and is another than ours: {error}", advice) from error
