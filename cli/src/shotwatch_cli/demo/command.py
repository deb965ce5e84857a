"""`shotwatch demo`."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from shotwatch_cli.demo.report import Report, rendered
from shotwatch_cli.demo.run import Demo
from shotwatch_cli.demo.scenario import DEFAULT_SEED, Scenario, recorded, simulated
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.failures import Failure
from shotwatch_cli.options import FACILITY, trusted_facility
from shotwatch_cli.output import LiteralConsole, print_json, stderr, stdout
from shotwatch_cli.skipped import list_skipped, skipped_record
from shotwatch_common.facility_file import load_facility
from shotwatch_embedded.errors import StackRunning
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_shots.facility import Facility
from shotwatch_simulator.image_reader import SkippedFile

_ROOT = Path(".shotwatch")


def demo(
    frames: Annotated[
        Path | None, typer.Option(help="Folder of recorded images; without it the laser is simulated.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of everything that is drawn at random.")
    ] = DEFAULT_SEED,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the whole path on a fresh embedded stack: upload files, train, show anomalies, check the totals.

    Fails when the ledger does not add up.

    \b
    shotwatch demo
    shotwatch demo --frames ../shared/data/beams/regime_change_1hz
    shotwatch demo --keep
    """
    if frames is not None and not frames.is_dir():
        raise Failure(f"{frames} is not a folder", "name a folder of PNG, PGM, TIFF, NPY or MAT images")
    try:
        report, skipped = asyncio.run(_demo(frames, seed, keep, stderr if json else stdout))
    except KeyboardInterrupt:
        raise Failure("interrupted; everything was stopped") from None
    if json:
        verdict = {"balances": report.balances, "overlooked": report.overlooked}
        print_json(asdict(report) | verdict | skipped_record(skipped))
    if not report.balances:
        raise Failure("the ledger does not add up")


async def _demo(
    frames: Path | None, seed: int, keep: bool, console: LiteralConsole
) -> tuple[Report, Sequence[SkippedFile]]:
    started = monotonic()
    ensure_rabbitmq(install=True)
    facility = load_facility(trusted_facility(FACILITY))
    folder = Path(tempfile.mkdtemp(prefix="shotwatch-demo-"))
    try:
        console.print("starting RabbitMQ, SecantusDB, rclone, MLflow and the services …")
        making = asyncio.create_task(asyncio.to_thread(_scenario, facility, frames, folder, seed))
        async with fresh_stack("demo") as stack:
            await stack.services_ready()
            scenario = await making
            list_skipped(scenario.skipped)
            console.print(f"everything runs after {monotonic() - started:.0f} s: stack {stack.name}")
            for page in stack.describe().page_urls:
                console.print(f"see it live: {page}", soft_wrap=True)
            report = await Demo(stack, settings_of(stack.environment()), facility, console).run(scenario)
            console.print(rendered(report))
            console.print(f"{monotonic() - started:.0f} s in all")
            if keep:
                await _keep(stack, console)
            return report, scenario.skipped
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scenario(facility: Facility, frames: Path | None, folder: Path, seed: int) -> Scenario:
    """Write the files of the demo, simulated unless there is a folder of recorded frames."""
    if frames is None:
        return simulated(facility, folder, seed)
    return recorded(facility, frames, folder, seed)


def fresh_stack(purpose: str, facility: Path = FACILITY) -> Stack:
    """Return a stack with that name, or `demo-2` … if `demo` runs already, without data of earlier runs.

    It starts all services.
    """
    for number in count(1):
        name = purpose if number == 1 else f"{purpose}-{number}"
        try:
            stack = Stack.claim(_ROOT, name, facility=facility, services=path_services())
        except StackRunning:
            continue
        for left in stack.folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        return stack
    raise AssertionError


async def _keep(stack: Stack, console: LiteralConsole) -> None:
    description = stack.describe()
    for page, url in zip(description.page_urls, description.query_urls, strict=True):
        console.print(f"live page: {page}", soft_wrap=True)
        console.print(f"REST API: {url}/api/v1    its documentation: {url}/docs")
    console.print(
        f"`shotwatch status`, `shotwatch tail` and the others find it as {stack.name}. Ctrl-C ends it."
    )
    await asyncio.Event().wait()
