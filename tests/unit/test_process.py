"""How a service begins."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from pymongo.errors import ServerSelectionTimeoutError

from shotwatch_common import process
from shotwatch_common.process import Service
from shotwatch_common.settings import SettingsError
from shotwatch_common.telemetry import fatal_errors_logged
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY


class Bus:
    """Notes when it begins to consume."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def subscribe(self, _subscription: Any) -> None:
        raise AssertionError("nothing is subscribed to here")

    async def check_topology(self) -> None:
        self._happened.append("all is there")

    async def start(self) -> None:
        self._happened.append("consuming")

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None: ...


async def test_no_message_is_taken_before_what_it_takes_is_known_however_long_a_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def service_context(_name: str, _settings: Any, _log: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(log=structlog.get_logger()), Bus(happened)

    async def poll() -> None:
        happened.append("asked")
        if len(happened) < 4:
            raise Retry("the registry does not answer")

    async def end_at_once() -> None: ...

    async def assemble(_context: Any, _resources: AsyncExitStack) -> Service:
        return Service(startup_checks=(poll,), background=(end_at_once,))

    monkeypatch.setattr(process, "service_context", service_context)
    monkeypatch.setattr(process, "_ASK_AGAIN_S", 0)
    settings: Any = SimpleNamespace(health_host="", health_port=0)
    try:
        await process._live("validate", settings, assemble, structlog.get_logger())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert happened == ["all is there", "asked", "asked", "asked", "consuming"]


def last_line(capsys: pytest.CaptureFixture[str], error: Exception) -> dict[str, Any]:
    """What a service logs that ends with this error."""
    with pytest.raises(SystemExit) as ended, fatal_errors_logged("validate", SettingsError):
        raise error
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_crash_is_one_json_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    line = last_line(capsys, ServerSelectionTimeoutError("database:27017: refused"))
    assert (line["service"], line["level"], line["event"]) == ("validate", "critical", "crashed")
    assert line["why"] == "ServerSelectionTimeoutError('database:27017: refused')"
    assert line["exception"].startswith("Traceback")


def test_an_expected_end_is_one_json_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    line = last_line(capsys, SettingsError("wrong settings:\n  SHOTWATCH_FACILITY: missing"))
    assert line["why"] == "wrong settings:\n  SHOTWATCH_FACILITY: missing"
    assert "exception" not in line


@pytest.mark.parametrize("service", ["validate", "query"])
def test_a_service_that_cannot_start_ends_with_one_json_line_and_exit_code_1(
    service: str, tmp_path: Path
) -> None:
    """Its folder for traces cannot be made, which no service expects."""
    reported = {
        "DATABASE_URL": "mongodb://127.0.0.1:1/",
        "STORE_URL": "http://127.0.0.1:1",
        "STORE_ACCESS_KEY": "access",
        "STORE_SECRET_KEY": "secret",
        "MODELS_URL": "http://127.0.0.1:1",
        "BROKER_URL": "amqp://127.0.0.1:1/",
        "FACILITY": str(FACILITY),
        "TRACES_FOLDER": "/dev/null/traces",
        "QUERY_PORT": "0",
        "QUERY_OPEN": "true",
    }
    environment = {**os.environ, **{f"SHOTWATCH_{name}": value for name, value in reported.items()}}
    command = (sys.executable, "-m", f"shotwatch_{service}")
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert json.loads(line)["service"] == service
    assert json.loads(line)["event"] == "crashed"


def test_a_service_that_crashes_ends_whatever_threads_are_left() -> None:
    """A thread that answered a request waits for its next work: nothing ends it after a crash."""
    program = """
from threading import Event, Thread
from shotwatch_common.telemetry import fatal_errors_logged

with fatal_errors_logged("query"):
    Thread(target=Event().wait).start()
    1 / 0
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert json.loads(line)["event"] == "crashed"
