"""`shotwatch up`: run the embedded stack and all services, until Ctrl-C."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from shotwatch_cli.deployment import ROOT, RootOption
from shotwatch_cli.failures import Misuse
from shotwatch_cli.options import FACILITY, FacilityOption
from shotwatch_cli.output import stdout, styled
from shotwatch_cli.processes import Screen
from shotwatch_common.facility_file import load_facility
from shotwatch_embedded.description import StackDescription
from shotwatch_embedded.services import ServiceSpec, path_services
from shotwatch_embedded.stack import Stack


def up(
    name: Annotated[
        str | None, typer.Option(help="Name of the stack. Default: the first that is free.")
    ] = None,
    replicas: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE=N", help="Run a service in N processes; may be repeated."),
    ] = None,
    facility: FacilityOption = FACILITY,
    root: RootOption = ROOT,
) -> None:
    """Start the servers and all services, and keep them running until Ctrl-C.

    Servers that the environment names (SHOTWATCH_BROKER_URL, SHOTWATCH_DATABASE_URL, SHOTWATCH_STORE_URL,
    SHOTWATCH_MODELS_URL) are used as they are; the others are started on free ports. A service that dies is
    restarted.

    \b
    Examples:
      shotwatch up
      shotwatch up --name second --replicas ingest=2 --replicas aggregate=2
    """
    services = read_services(replicas or [])
    load_facility(facility)
    try:
        asyncio.run(_run(root, name, facility, services))
    except (KeyboardInterrupt, asyncio.CancelledError):
        stdout.print("stopped")


def read_services(replicas: Sequence[str]) -> tuple[ServiceSpec, ...]:
    """Return the services of the path, each with as many replicas as `SERVICE=N` sets, otherwise one.

    Raises:
        Misuse: an argument has another form, or names no service.
    """
    try:
        return path_services(dict(map(_count, replicas)))
    except ValueError as error:
        raise Misuse(f"--replicas: {error}") from error


def _count(text: str) -> tuple[str, int]:
    service, _, count = text.partition("=")
    if not count.isdecimal() or not int(count):
        raise ValueError(f"{text!r} is not SERVICE=N, such as ingest=2")
    return service, int(count)


async def _run(root: Path, name: str | None, facility: Path, services: Sequence[ServiceSpec]) -> None:
    _end_on_sigterm()
    with Screen() as screen:
        claimed = Stack.claim(root, name, facility=facility, services=services, on_change=screen.show)
        async with claimed as stack:
            await stack.services_ready()
            stdout.print(_addresses(stack.describe()), soft_wrap=True)
            await asyncio.Event().wait()


def _end_on_sigterm() -> None:
    """Make SIGTERM end the command as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _addresses(stack: StackDescription) -> Text:
    lines = [f"{stack.name} is ready in {stack.folder}; Ctrl-C stops it"]
    for page, url in zip(stack.page_urls, stack.query_urls, strict=True):
        lines += [f"live page {page}", f"REST API  {url}/api/v1", f"its docs  {url}/docs"]
    if stack.token:
        lines.append("whoever has the token may do everything; each start makes a new one")
    return styled(("\n".join(lines), "bold"))
