"""`shotwatch` on a running stack, each command in a process of its own."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shotwatch_common.topology import STAGES
from shotwatch_embedded.description import running_stacks
from shotwatch_embedded.processes import processes
from shotwatch_embedded.status import State
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate
from tests.chaos.links import links_to, through
from tests.facilities import FACILITY

from .commands import Result
from .conftest import Running
from .recorder import recording_as
from .waiting import DEADLINE_S

NOBODY = "amqp://guest:guest@127.0.0.1:1/"
SHOTWATCH = Path(sys.executable).with_name("shotwatch")


@asynccontextmanager
async def started(
    root: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """A process with the command; a test that fails does not leave it to the next ones."""
    process = await asyncio.create_subprocess_exec(
        SHOTWATCH, *arguments, env=environment_of(root) | (environment or {}), stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()


def environment_of(root: Path) -> dict[str, str]:
    """The environment of a command for the stack in this folder."""
    settings = {"SHOTWATCH_ROOT": str(root), "SHOTWATCH_FACILITY": str(FACILITY)}
    return {**os.environ, **settings, **recording_as("engineer")}


async def shotwatch(
    running: Running, *arguments: str, environment: Mapping[str, str] | None = None
) -> Result:
    """A command; with variables of its own, some of which act at the import, it is not forked."""
    if environment is None:
        assert running.commands is not None
        return await running.commands.run(arguments, environment_of(running.stack.folder.parent))
    async with started(running.stack.folder.parent, *arguments, environment=environment) as process:
        stdout, stderr = await process.communicate()
    return Result(process.returncode, stdout.decode(), stderr.decode())


async def audited(running: Running, which: str) -> list[str]:
    """What this machine's user did to it from the command line, newest first."""
    changes = (await shotwatch(running, "audit", "--last", "1000", "--json")).documents
    return [
        change["what"]
        for change in changes
        if change["which"] == which and change["who"].startswith("os:") and change["status"] is None
    ]


def snapshots(facility: Facility, folder: Path, minute: int, *kinds: Kind) -> Sequence[Path]:
    """A minute of LB-FSD with these anomalies."""
    expected = facility.expected_devices(ShotSeries.parse("LB-FSD-00-1s"))
    assert expected is not None
    start, length = datetime(2021, 5, 5, 7, minute, tzinfo=UTC), timedelta(minutes=1)
    anomalous = plan_injections(facility, [expected], start, length, kinds=kinds)
    return list(simulate(Simulation(facility, (expected,), start, length, injections=anomalous), folder))


async def next_event(tail: Process) -> Any:
    assert tail.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        return json.loads(await tail.stdout.readline())


async def test_tail_shows_what_was_missed_and_then_what_comes_until_ctrl_c(
    running: Running, tmp_path: Path
) -> None:
    missed = snapshots(running.facility, tmp_path, 0, Kind.BLACK_FRAME)
    live = snapshots(running.facility, tmp_path, 1, Kind.FROZEN_FRAME, Kind.BLACK_FRAME)
    await running.upload(*missed)
    await running.judged()
    key = "anomaly.*.LB.FSD.*.black_frame"
    async with started(running.stack.folder.parent, "tail", key, "--since", "0", "--json") as tail:
        first = await next_event(tail)
        await running.upload(*live)
        second = await next_event(tail)
        tail.send_signal(signal.SIGINT)
        rest, errors = await tail.communicate()
    assert [event["data"]["kind"] for event in (first, second)] == ["black_frame"] * 2
    assert first["subject"].startswith("LB-FSD-00-1s-20210505T0700")
    assert second["subject"].startswith("LB-FSD-00-1s-20210505T0701")
    assert (rest, errors, tail.returncode) == (b"", b"", 130)


async def test_tail_waits_for_a_broker_that_went_away_and_shows_what_was_raised_meanwhile(
    running: Running, tmp_path: Path
) -> None:
    await running.upload(*snapshots(running.facility, tmp_path / "before", 3, Kind.BLACK_FRAME))
    await running.judged()
    [stack] = running_stacks(running.stack.folder.parent)
    assert stack.token is not None
    result = {
        **running.stack.environment(),
        "SHOTWATCH_QUERY_URL": stack.query_urls[0],
        "SHOTWATCH_API_KEY": stack.token,
    }
    command = "tail", "anomaly.*.LB.FSD.*.black_frame", "--since", "0", "--json"
    async with (
        links_to(running.stack) as links,
        started(tmp_path, *command, environment=through(links, result)) as tail,
    ):
        while not (await next_event(tail))["subject"].startswith("LB-FSD-00-1s-20210505T0703"):
            pass
        async with links["broker"].away():
            await running.upload(*snapshots(running.facility, tmp_path / "away", 4, Kind.BLACK_FRAME))
            await running.judged()
        later = await next_event(tail)
        tail.send_signal(signal.SIGINT)
        _, errors = await tail.communicate()
    assert later["subject"].startswith("LB-FSD-00-1s-20210505T0704")
    assert [b"closed the connection" in errors, b"the broker is back" in errors] == [True, True]
    assert tail.returncode == 130


async def test_upload_and_ledger_report_every_object_and_it_adds_up(running: Running, tmp_path: Path) -> None:
    files = snapshots(running.facility, tmp_path, 2)
    empty = tmp_path / files[0].name.replace("07-02", "07-03")
    empty.touch()
    uploaded = await shotwatch(running, "upload", str(tmp_path), "--json")
    [summary] = uploaded.documents
    assert summary["files"] == len(files) + 1
    assert summary["bytes"] == sum(file.stat().st_size for file in files)
    await running.judged()
    ledger = await shotwatch(running, "ledger", "--json")
    [audited] = ledger.documents
    assert (audited["problems"], audited["adds_up"], ledger.exit_code) == ([], True, 0)
    assert audited["objects"] == sum(audited["states"].values()) >= len(files) + 1
    rejected = await shotwatch(running, "ledger", "--objects", "--state", "rejected", "--json")
    assert (empty.name, "empty") in {(each["key"], each["reason"]) for each in rejected.documents}
    (lost,) = [each["location"] for each in rejected.documents if each["key"] == empty.name]
    await running.store.remove(lost["bucket"], lost["key"])
    result = await shotwatch(running, "ledger")
    await running.store.put(lost["bucket"], lost["key"], b"")
    assert result.exit_code == 1
    assert f"{lost['bucket']}/{lost['key']} does not exist" in " ".join(result.stdout.split())


async def test_status_reports_every_process_queue_and_server(running: Running) -> None:
    [result] = (await shotwatch(running, "status", "--json")).documents
    names = {process.name for process in running.stack.status()}
    assert {process["name"] for process in result["processes"]} == names
    second_jobs = {"detail": "features", "shadow": "inference"}
    workers = {stage: second_jobs.get(stage, stage) for stage in STAGES}
    replicas = {stage: sum(name.startswith(who) for name in names) for stage, who in workers.items()}
    assert {queue["stage"]: queue["consumers"] for queue in result["queues"]} == replicas
    assert result["ledger"]["states"].keys() == set(ObjectState)
    assert "latest_event" in result
    people = await shotwatch(running, "status", environment={"COLUMNS": "60"})
    assert all(word in people.stdout for word in ("ingest-2", "inference", "ledger: ", "champion: "))
    [page] = running.stack.describe().page_urls
    assert f"live page: {page}" in people.stdout.splitlines()


async def test_the_token_of_the_stack_goes_before_a_key_for_another_deployment(running: Running) -> None:
    of_another = {"SHOTWATCH_API_KEY": "shotwatch_of_another_deployment"}
    result = await shotwatch(running, "events", "list", "--json", environment=of_another)
    assert (result.exit_code, result.stderr) == (0, "")


async def test_doctor_finds_nothing_broken(running: Running) -> None:
    result = await shotwatch(running, "doctor", "--json")
    broken = [finding for finding in result.documents if finding["verdict"] == "fail"]
    assert (result.exit_code, broken) == (0, [])
    buckets = {f"bucket {bucket}" for bucket in ("inbox", "data", "errors", "blocks")}
    wanted = buckets | {"indexes", "clock of the store", "clock of the REST API"}
    assert wanted <= {finding["subject"] for finding in result.documents}


async def test_training_without_enough_shots_fails_with_the_reason(running: Running) -> None:
    result = await shotwatch(running, "train", "--from", "1990-01-01", "--to", "1990-01-02")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "to learn from" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_server_that_is_away_is_named_without_a_traceback(running: Running) -> None:
    result = await shotwatch(
        running,
        "status",
        "--json",
        environment={**running.stack.environment(), "SHOTWATCH_BROKER_URL": NOBODY},
    )
    [status] = result.documents
    assert "does not answer" in status["queues"]["error"]
    assert status["ledger"]["objects"] >= 0
    assert result.stderr == ""


async def test_up_ends_at_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    async with started(tmp_path, "up", "--name", "mine", environment={"COLUMNS": "60"}) as up:
        assert up.stdout is not None
        async with asyncio.timeout(2 * DEADLINE_S):
            while not (line := await up.stdout.readline()).startswith(b"live page"):
                pass
        [stack] = running_stacks(tmp_path)
        assert line.decode() == f"live page {stack.query_urls[0]}/#token={stack.token}\n"
        has_been_ready = {State.READY, State.UNREADY}  # a busy machine may answer late for a moment
        assert {process.state for process in stack.processes} <= has_been_ready
        up.send_signal(signal.SIGINT)
        rest, errors = await up.communicate()
    assert (rest.splitlines()[-1], errors, up.returncode) == (b"stopped", b"", 0)
    assert not processes(stack.folder)
    assert not running_stacks(tmp_path)
