"""`shotwatch tail`: anomaly events as they are raised."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from shotwatch_cli.broker import EventStream
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.events import AGAIN_S, event_line, event_record, matching, without_double, without_gap
from shotwatch_cli.failures import Failure
from shotwatch_cli.options import JsonOption
from shotwatch_cli.output import print_json, stderr, stdout
from shotwatch_cli.rest import MissedEvents
from shotwatch_shots.event import AnomalyEvent


def tail(
    binding_key: Annotated[
        str,
        typer.Argument(
            help="Which events: anomaly.SEVERITY.PLACE.KIND, with a word for each level of the place; "
            "* one word, # any number."
        ),
    ] = "anomaly.#",
    since: Annotated[
        int | None, typer.Option(min=0, help="First show the stored events after this number; 0 = all.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show anomaly events as they are raised, until Ctrl-C or the end of the embedded stack.

    When the connection to the broker is lost, the command waits for it and then shows the events raised
    meanwhile. Each line: number, time of the shot, place, severity, kind, score > threshold, reason.

    \b
    Examples:
      shotwatch tail
      shotwatch tail 'anomaly.critical.#'
      shotwatch tail 'anomaly.*.LA.A1.*.hot_spot' --since 120 --json
    """
    asyncio.run(_tail(find_deployment(root, name), binding_key, since, json))


async def _tail(deployment: Deployment, binding_key: str, since: int | None, json: bool) -> None:
    async with AsyncExitStack() as resources:
        missed = None
        if since is not None:
            missed = MissedEvents(await resources.enter_async_context(deployment.api()), since)
        async for event in without_double(events_of(deployment, binding_key, missed)):
            if json:
                print_json(event_record(event))
            else:
                stdout.print(event_line(event), soft_wrap=True)


async def events_of(
    deployment: Deployment, binding_key: str, missed: MissedEvents | None
) -> AsyncIterator[AnomalyEvent]:
    """Yield events as they are published, some of them twice. Reconnect when the broker goes away.

    Raises:
        Failure: a server does not answer at the start, or the embedded stack has ended.
    """
    stream = EventStream(deployment.broker_url, deployment.topology)
    began = waiting = False
    while True:
        try:
            async with stream.subscription() as published:
                if waiting:
                    stderr.print("the broker is back")
                if missed is not None and not began:
                    async for event in matching(missed(), binding_key):
                        yield event
                began, waiting = True, False
                live = matching(published, binding_key)
                async for event in live if missed is None else without_gap(missed, live, binding_key):
                    yield event
        except Failure as failure:
            if not began:
                raise
            if not waiting:
                stderr.print(f"{failure}; waiting for it. What is raised meanwhile is shown later")
                waiting = True
        await asyncio.sleep(AGAIN_S)
        deployment.require_running()
