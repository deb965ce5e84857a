"""The stack into which faults are injected, started once for a process, and the table of the outcomes."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from shotwatch_cli.deployment import settings_of
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_embedded import stack as stack_module
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from tests.broker import admit_tester, controllable_broker
from tests.facilities import facility_waiting
from tests.installing import alone

from .bed import LATENESS_S, FaultBed, service_environment
from .injections import FAULT_INJECTIONS, QUICK
from .inputs import cameras_of, make_inputs, quiet_files
from .links import links_to

LINE = "injection"
REPORT = "CHAOS_REPORT"
"""Environment variable: the file that the table is written to."""
REPLICAS = {"ingest": 2, "validate": 2, "aggregate": 2, "features": 2, "inference": 2}
_HEAD = """# Fault injection: how the system recovers

Written by `make chaos`. Each row of the table is one fault injection into an embedded stack with two
replicas of each service. Two stacks run at the same time, on 2 cores.

| column | meaning |
|---|---|
| faults | how often it occurred: processes ended, connections reset, messages or files affected |
| lost | objects, shots and events of the undisturbed run that are missing or differ |
| twice | events with two numbers, or that the undisturbed run does not have |
| recovery | time from the end of the fault until every queue was empty and every shot judged |

A row with other values than 0 and 0 is a known defect: a strict xfail in tests/chaos/injections.py, with
the reason. One defect is not in the table (tests/integration/test_full_disk.py). After its disk was full,
SecantusDB, the embedded database, must be started again, and may lack the last write that it acknowledged.

Cameras have references and a champion scores the shots, so the scores must be those of the undisturbed run,
too. Each injected anomaly lasts for one shot. If it lasted longer, the name of its incident would depend on
the order in which its files are judged.

- A **link** is a proxy between the services and a server. If it is *cut*, it resets all connections and
  refuses new ones for 5 s, three times. A *black hole* accepts connections and drops all data for 30 s,
  then resets them. A *slow* link delays each 64 KiB by 0.1 s and passes 500 kB/s on each connection, until
  all files are read.
- **Past the deadline**: a file arrived in time, but was read only when its shots would have been closed
  without it.
- **Stopped**: the stage does nothing until all stages before it are done. The messages wait in its queue,
  each once. No process before it grows by more than 100 MiB, and its replicas are reported as not ready.
  tests/integration/test_bus.py shows that stages pause while the queue of the next one is long.
- **Away**: the server accepts no connections for a minute. Half a minute after the connections were reset,
  no message waits for another attempt, because such failures do not count as attempts.
- **No model registry**: it does not answer for 30 s, while all replicas of inference are restarted.

"""


@dataclass(frozen=True, slots=True)
class Line:
    """The outcome of a fault injection."""

    injection: str
    objects: int
    faults: int
    lost: int
    twice: int
    recovery_s: float


@pytest.fixture(scope="module")
async def bed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultBed]:
    ensure_rabbitmq(install=True)
    root = tmp_path_factory.mktemp("chaos")
    facility = facility_waiting(LATENESS_S, root)
    described = load_facility(facility)
    inputs, quiet = make_inputs(described, root / "inputs"), quiet_files(described, root / "quiet")
    async with AsyncExitStack() as resources:
        resources.enter_context(patch.object(stack_module, "broker", controllable_broker))
        with alone(tmp_path_factory.getbasetemp().parent / "bed-starts"):  # each takes all cores for it
            claimed = Stack.claim(root, "chaos", facility=facility, settings={})
            admit_tester(claimed.folder / "broker")
            stack = await resources.enter_async_context(claimed)
            links = await resources.enter_async_context(links_to(stack))
            path = [spec for spec in path_services(REPLICAS) if spec.name not in ("query", "history")]
            stack.start_services(
                replace(
                    spec, environment={**spec.environment, **service_environment(stack, links, spec.name)}
                )
                for spec in path
            )
            await stack.services_ready()
            settings = settings_of(stack.environment())
            store = await resources.enter_async_context(ObjectStore.of(settings))
            archive = await resources.enter_async_context(Archive.of(settings))
            bed = FaultBed.over(stack, links, store, archive, inputs)
            await bed.learn(quiet, cameras_of(described))
        yield bed


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[Line], None]:
    """Enter an outcome into the table, which another process than the test's own may print."""
    return lambda line: record_property(LINE, asdict(line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    reported = [dict(report.user_properties) for report in reports if getattr(report, "when", "") == "call"]
    lines = sorted((Line(**each[LINE]) for each in reported if LINE in each), key=_place)
    if not lines:
        return
    table = _table(lines)
    terminalreporter.write_sep("-", "injections")
    terminalreporter.write_line(table)
    if REPORT in os.environ:
        Path(os.environ[REPORT]).write_text(f"{_HEAD}{table}\n", encoding="utf-8")


def _place(line: Line) -> int:
    """In the order in which the fault injections are listed; others come last."""
    listed = [injection.name for injection in (*QUICK, *FAULT_INJECTIONS)]
    return listed.index(line.injection) if line.injection in listed else len(listed)


def _cells(line: Line) -> tuple[object, ...]:
    return line.injection, line.objects, line.faults, line.lost, line.twice, round(line.recovery_s)


def _table(lines: list[Line]) -> str:
    rows = [f"| {' | '.join(map(str, _cells(line)))} |" for line in lines]
    head = "| fault injection | objects | faults | lost | twice | recovery, s |"
    return "\n".join([head, "|---|---:|---:|---:|---:|---:|", *rows])
