"""`shotwatch tail`: anomaly events as they are raised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from shotwatch_cli.broker import subscription
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.events import AGAIN_S, event_line, event_record, matching, without_double, without_gap
from shotwatch_cli.failures import Failure
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import print_json, stderr, stdout
from shotwatch_cli.rest import MissedEvents
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
    """Show anomaly events as they are raised, until Ctrl-C or the end of the embedded stack.

    A broker that goes away is waited for; what was raised meanwhile is shown once it is back.
    Each line: number, time of the shot, place, severity, kind, score > threshold, why.

    \b
    Examples:
      shotwatch tail
      shotwatch tail 'anomaly.critical.#'
      shotwatch tail 'anomaly.*.LA.A1.*.hot_spot' --since 120 --json
    """
    asyncio.run(_tail(find_deployment(root, name), binding_key, since, json))


async def _tail(deployment: Deployment, binding_key: str, since: int | None, json: bool) -> None:
    async with AsyncExitStack() as resources:
        missed = await _missed(deployment, since, resources)
        events = _events(deployment, binding_key, missed, ask_first=since is not None)
        async for event in without_double(events):
            if json:
                print_json(event_record(event))
            else:
                stdout.print(event_line(event), soft_wrap=True)


async def _missed(
    deployment: Deployment, since: int | None, resources: AsyncExitStack
) -> MissedEvents | None:
    """Those that the REST API is to tell; None where it cannot be asked, and need not be."""
    if since is None and deployment.query_url is None:
        return None
    api = await resources.enter_async_context(deployment.api())
    if since is not None:
        return MissedEvents(api, since)
    try:
        return await MissedEvents.from_now_on(api)
    except Failure:
        return None


async def _events(
    deployment: Deployment, binding_key: str, missed: MissedEvents | None, ask_first: bool
) -> AsyncIterator[AnomalyEvent]:
    """Events as they are raised, some of them twice. A broker that goes away is waited for.

    Raises:
        Failure: a server is away from the beginning, or the embedded stack has ended.
    """
    began = waiting = False
    while True:
        try:
            async with subscription(deployment.broker_url, binding_key, deployment.topology) as live:
                if waiting:
                    stderr.print("the broker is back")
                if missed is not None and ask_first and not began:
                    async for event in matching(missed(), binding_key):
                        yield event
                began, waiting = True, False
                async for event in live if missed is None else without_gap(missed, live, binding_key):
                    yield event
        except Failure as failure:
            if not began:
                raise
            if not waiting:
                later = "shown later" if missed is not None else "not shown: the REST API cannot be asked"
                stderr.print(f"{failure}; waiting for it. What is raised meanwhile is {later}")
                waiting = True
        await asyncio.sleep(AGAIN_S)
        deployment.require_running()
