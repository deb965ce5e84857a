"""`shotwatch` on a running stack, each command in a process of its own."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shotwatch_common.facility import Facility, Place
from shotwatch_embedded.processes import processes
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate

from .conftest import FACILITY, Running, until

SHOTWATCH = Path(sys.executable).with_name("shotwatch")


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said."""

    exit_code: int | None
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]


async def started(root: Path, *arguments: str) -> Process:
    environment = {**os.environ, "SHOTWATCH_ROOT": str(root), "SHOTWATCH_FACILITY": str(FACILITY)}
    return await asyncio.create_subprocess_exec(
        SHOTWATCH, *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )


async def shotwatch(running: Running, *arguments: str) -> Told:
    process = await started(running.stack.folder.parent, *arguments)
    stdout, stderr = await process.communicate()
    return Told(process.returncode, stdout.decode(), stderr.decode())


def snapshots(facility: Facility, folder: Path, minute: int, *kinds: Kind) -> Sequence[Path]:
    """A minute of LB-FSD with these anomalies."""
    roster = facility.roster(Place("LB", "FSD"), "1s")
    assert roster is not None
    start, length = datetime(2031, 5, 5, 7, minute, tzinfo=UTC), timedelta(minutes=1)
    odd = plan_injections(facility, [roster], start, length, kinds=kinds)
    return list(simulate(Simulation(facility, (roster,), start, length, injections=odd), folder))
