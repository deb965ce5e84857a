"""Attacks of other users of the machine on an embedded stack: its files, its processes, its REST API."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from yarl import URL

from shotwatch_common.topology import Topology
from shotwatch_embedded.processes import processes
from shotwatch_embedded.stack import Stack
from shotwatch_operations.broker.accounts import accounts_of
from shotwatch_shots.place import ShotSeries
from shotwatch_simulator.simulation import Simulation, simulate

from .conftest import Running
from .strangers import open_to_others


async def test_nothing_that_a_stack_wrote_has_rights_for_group_or_others(
    running: Running, tmp_path: Path
) -> None:
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    start = datetime(2024, 10, 1, 8, tzinfo=UTC)
    await running.upload(
        *simulate(Simulation(running.facility, (expected,), start, timedelta(seconds=5)), tmp_path)
    )
    await running.judged()
    written = {path.parent.name for path in running.stack.folder.rglob("*") if path.is_file()}
    assert {"logs", "traces", "models", "broker"} <= written
    assert list((running.stack.folder / "store").rglob("*.arrow"))
    assert open_to_others(running.stack.folder) == []


def secrets_of(stack: Stack) -> Iterator[str]:
    """Yield the secrets that the stack's services are given, and the token."""
    for service in (None, *(each.name for each in accounts_of(Topology()))):
        for name, value in stack.environment(service).items():
            if name.endswith(("_PASSWORD", "_KEY")):
                yield value
            elif name.endswith("_URL") and (password := URL(value).password):
                yield password
    yield stack.describe().token or ""


def command_lines(folder: Path) -> list[str]:
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes(folder)]


async def test_no_secret_is_on_a_command_line(running: Running) -> None:
    """Every user of the machine can read those."""
    secrets = set(secrets_of(running.stack))
    # of each account of the broker; two of the store and of MLflow; database, token
    assert len(secrets) == len(list(accounts_of(Topology()))) + 6
    lines = command_lines(running.stack.folder)
    assert len(lines) > len(running.stack.status())
    assert [line for line in lines if any(secret in line for secret in secrets)] == []


@pytest.mark.parametrize("path", ["shots", "events", "events/stream", "caller", "ledger/objects", "audit"])
async def test_who_reaches_the_port_without_the_token_gets_nothing(running: Running, path: str) -> None:
    [url, *_] = running.stack.describe().query_urls
    async with httpx.AsyncClient(base_url=f"{url}/api/v1/") as stranger:
        assert (await stranger.get(path)).status_code == 401
        wrong = {"Authorization": f"Bearer shotwatch_{'x' * 43}"}
        assert (await stranger.get(path, headers=wrong)).status_code == 401


async def test_the_token_of_the_stack_lets_its_owner_do_everything(running: Running) -> None:
    stack = running.stack.describe()
    shown = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=f"{stack.query_urls[0]}/api/v1/", headers=shown) as owner:
        caller = (await owner.get("caller")).json()
    assert (caller["known"], caller["scopes"]) == (True, ["admin", "label", "read"])
