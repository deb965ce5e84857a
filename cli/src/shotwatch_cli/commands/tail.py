"""`shotwatch tail`: anomaly events as they are raised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer

from shotwatch_cli.broker import subscription
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.events import event_line, event_record, without_double, without_gap
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import print_json, stdout
from shotwatch_cli.rest import MissedEvents, RestApi
from shotwatch_common.contracts import AnomalyEvent


def tail(
    binding_key: Annotated[
        str,
        typer.Argument(
            help="Which events: anomaly.SEVERITY.FRONTEND.AMP.ARM.KIND; * one word, # any number."
        ),
    ] = "anomaly.#",
    since: Annotated[
        int | None, typer.Option(min=0, help="First those after this number that were missed; 0 = all.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show anomaly events as they are raised, until Ctrl-C.

    Each line: number, time of the shot, place, severity, kind, score > threshold, why.

    \b
    Examples:
      shotwatch tail
      shotwatch tail 'anomaly.critical.#'
      shotwatch tail 'anomaly.*.LA.A1.*.hot_spot' --since 120 --json
    """
    asyncio.run(_tail(find_deployment(root, name), binding_key, since, json))


async def _tail(deployment: Deployment, binding_key: str, since: int | None, json: bool) -> None:
    async with _events(deployment, binding_key, since) as events:
        async for event in events:
            if json:
                print_json(event_record(event))
            else:
                stdout.print(event_line(event), soft_wrap=True)


@asynccontextmanager
async def _events(
    deployment: Deployment, binding_key: str, since: int | None
) -> AsyncIterator[AsyncIterator[AnomalyEvent]]:
    async with AsyncExitStack() as resources:
        live = await resources.enter_async_context(subscription(deployment.broker_url, binding_key))
        if since is None:
            yield without_double(live)
        else:
            api = await resources.enter_async_context(RestApi(deployment.api_url))
            yield without_gap(MissedEvents(api, since), live, binding_key)
