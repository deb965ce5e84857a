"""The supervisor, with a small service of the test's own and no servers to start."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from shotwatch_embedded import keeper, logs
from shotwatch_embedded import stack as stack_module
from shotwatch_embedded.description import running_stacks
from shotwatch_embedded.errors import ProcessFailed, StackError, StackRunning
from shotwatch_embedded.forks import NO_THREADS, PYTHON_MODULE, UNKNOWN_EXIT
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.services import HEALTH_PORT, ONE_THREAD, ServiceSpec
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import State, Status

from .strangers import bound_by_a_stranger, open_to_others, require_a_stranger

ELSEWHERE = {
    "SHOTWATCH_BROKER_URL": "amqp://user:password@broker.invalid/",
    "SHOTWATCH_DATABASE_URL": "mongodb://database.invalid/",
    "SHOTWATCH_STORE_URL": "http://store.invalid",
    "SHOTWATCH_STORE_ACCESS_KEY": "access",
    "SHOTWATCH_STORE_SECRET_KEY": "secret",
    "SHOTWATCH_MODELS_URL": "http://models.invalid",
}

SERVICE = """
import http.server, json, os, random, subprocess, sys, uuid

class Answers(http.server.BaseHTTPRequestHandler):
    ready = True
    def do_GET(self):
        if self.path == "/toggle":
            Answers.ready = not Answers.ready
        if self.path == "/environment":
            body = json.dumps(dict(os.environ)).encode()
        elif self.path == "/self":
            facts = {"parent": os.getppid(), "session": os.getsid(0), "folder": os.getcwd()}
            facts["files"] = sorted(map(int, os.listdir("/proc/self/fd")))
            facts["threads"] = len(os.listdir("/proc/self/task"))
            facts["umask"] = os.umask(0o077)
            facts["random"] = [random.random(), uuid.uuid4().hex]
            body = json.dumps(facts).encode()
        else:
            body = b""
        self.send_response(200 if Answers.ready or self.path != "/ready" else 503)
        self.end_headers()
        self.wfile.write(body)

if "CHILD" in os.environ:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("child", child.pid, flush=True)
print("up", flush=True)
port = int(os.environ["SHOTWATCH_HEALTH_PORT"])
http.server.ThreadingHTTPServer.allow_reuse_port = True
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""


class Changes:
    """Every change that the stack reported, and the wait for one to come."""

    def __init__(self) -> None:
        self.seen: list[Status] = []
        self._news = asyncio.Event()

    def __call__(self, status: Status) -> None:
        self.seen.append(status)
        self._news.set()

    async def one(self, matches: Callable[[Status], bool], deadline: float = 30) -> Status:
        """The first reported change, past or to come, that matches."""
        async with asyncio.timeout(deadline):
            while not (found := [status for status in self.seen if matches(status)]):
                self._news.clear()
                await self._news.wait()
        return found[0]


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
async def stack(tmp_path: Path, changes: Changes) -> AsyncIterator[Stack]:
    claimed = Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE, on_change=changes)
    async with claimed:
        yield claimed


def service(name: str = "dummy", replicas: int = 1, **environment: str) -> ServiceSpec:
    return ServiceSpec(name, (sys.executable, "-c", SERVICE), environment, replicas)


async def get(status: Status, path: str) -> bytes:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{LOOPBACK}:{status.port}{path}") as response,
    ):
        return await response.read()


def is_free(port: int) -> bool:
    """Whether nobody has bound the port; connections that ended just now do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_servers_that_the_settings_name_are_used_and_not_started(stack: Stack) -> None:
    assert stack.status() == []
    assert ELSEWHERE.items() <= stack.environment().items()


@pytest.mark.timeout(30)
async def test_a_stack_that_ends_at_once_does_not_wait_for_a_guard_that_it_cannot_see_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel shows the environment of a program, by which it is found, a moment after it was started."""
    monkeypatch.setattr("shotwatch_embedded.stack.kill_all", lambda _folder: None)
    await Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE).stop()
    assert running_stacks(tmp_path) == []


async def test_each_replica_is_a_ready_process_of_its_own(stack: Stack) -> None:
    stack.start_services([service(replicas=2)])
    await stack.services_ready()
    first, second = stack.status()
    assert (first.name, second.name) == ("dummy-1", "dummy-2")
    assert first.state is second.state is State.READY
    assert first.pid != second.pid
    assert first.port != second.port
    assert "up" in first.log.read_text()


async def test_a_replica_is_given_the_addresses_the_facility_and_its_own_settings(stack: Stack) -> None:
    stack.start_services([service(WORD="own")])
    await stack.services_ready()
    (status,) = stack.status()
    variables = json.loads(await get(status, "/environment"))
    assert stack.environment().items() <= variables.items()
    assert variables["WORD"] == "own"
    assert variables[HEALTH_PORT] == str(status.port)


async def test_a_killed_service_is_restarted_on_its_port_and_it_shows(stack: Stack, changes: Changes) -> None:
    stack.start_services([service()])
    await stack.services_ready()
    (before,) = stack.status()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    down = await changes.one(lambda status: status.state is State.RESTARTING)
    again = await changes.one(lambda status: status.state is State.READY and status.restarts == 1)
    assert (down.pid, down.exit_code, down.restarts) == (None, -signal.SIGKILL, 1)
    assert again.pid != before.pid
    assert again.port == before.port
    assert stack.describe().processes == (again,)


async def test_no_stranger_can_take_the_port_of_a_service_that_is_down(tmp_path: Path) -> None:
    require_a_stranger()
    taken: dict[int, list[str]] = {}
    changes = Changes()

    def on_change(status: Status) -> None:
        """Try to take the port; the supervisor starts the service again only once this has returned."""
        if status.state is State.RESTARTING:
            taken[status.port] = bound_by_a_stranger(status.port)
        changes(status)

    async with Stack.claim(
        tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE, on_change=on_change
    ) as stack:
        stack.start_services([service()])
        await stack.services_ready()
        (before,) = stack.status()
        os.kill(before.pid or 0, signal.SIGKILL)
        await changes.one(lambda status: status.state is State.READY and status.restarts == 1)
        assert taken == {before.port: []}
    assert bound_by_a_stranger(before.port)


async def test_the_children_of_a_killed_service_do_not_outlive_it(stack: Stack, changes: Changes) -> None:
    command = f"import os; os.fork() or os.execlp('sleep', 'sleep', '600')\n{SERVICE}"
    stack.start_services([ServiceSpec("parent", (sys.executable, "-c", command))])
    await stack.services_ready()
    (before,) = stack.status()
    assert before.pid is not None
    (child,) = children_of(before.pid)
    os.kill(before.pid, signal.SIGKILL)
    await changes.one(lambda status: status.restarts == 1 and status.state is State.READY)
    assert not is_alive(child)


async def test_a_service_that_serves_no_more_is_shown_as_unready(stack: Stack, changes: Changes) -> None:
    stack.start_services([service()])
    await stack.services_ready()
    (status,) = stack.status()
    await get(status, "/toggle")
    unready = await changes.one(lambda status: status.state is State.UNREADY)
    assert unready.pid == status.pid
    await get(status, "/toggle")
    await changes.one(lambda _: stack.status()[0].state is State.READY)


async def test_a_service_that_shows_no_life_is_killed_and_restarted(
    stack: Stack, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_LONGEST_WITHOUT_LIFE", 0.5)
    stack.start_services([service()])
    await stack.services_ready()
    (before,) = stack.status()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGSTOP)
    after = await changes.one(lambda status: status.restarts == 1 and status.state is State.READY)
    assert after.pid != before.pid


async def test_a_log_that_strangers_make_long_is_shortened_and_goes_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_LOG_BYTES", 3000)
    talking = f"print('first ' + 'x' * 2000 + 'last' * 500, flush=True)\n{SERVICE}"
    stack.start_services([ServiceSpec("talking", (sys.executable, "-c", talking))])
    await stack.services_ready()
    (status,) = stack.status()
    older = status.log.with_name(f"{status.log.name}.1")
    async with asyncio.timeout(30):
        while not older.exists() or status.log.stat().st_size == 0:
            await asyncio.sleep(0.1)
    assert older.stat().st_size == 3000
    assert b"first" not in older.read_bytes()
    assert b"last" in older.read_bytes()
    assert older.stat().st_mode & 0o777 == 0o600
    assert b"\0" not in status.log.read_bytes(), "it is written from its new begin"


async def test_a_service_that_never_comes_up_is_reported_with_its_log(stack: Stack) -> None:
    broken = ServiceSpec("broken", (sys.executable, "-c", "raise SystemExit('the facility file is missing')"))
    stack.start_services([broken])
    with pytest.raises(ProcessFailed, match="the facility file is missing"):
        await stack.services_ready(within_s=1)


async def test_a_command_that_does_not_exist_is_shown_like_any_death(stack: Stack, changes: Changes) -> None:
    stack.start_services([ServiceSpec("absent", ("/nonexistent/command",))])
    down = await changes.one(lambda status: status.state is State.RESTARTING)
    assert down.exit_code == 127
    assert "cannot be run" in down.log.read_text()


async def test_a_strangers_answer_on_the_port_does_not_make_a_service_ready(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        monkeypatch.setattr(Ports, "take", lambda _: port)
        stack.start_services([ServiceSpec("mute", (sys.executable, "-c", "import time; time.sleep(600)"))])
        with pytest.raises(ProcessFailed, match="not ready"):
            await stack.services_ready(within_s=1)


async def test_stopping_leaves_no_process_and_no_port_not_even_of_grandchildren(
    tmp_path: Path, changes: Changes
) -> None:
    stack = Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE, on_change=changes)
    async with stack:
        stack.start_services([service(replicas=2, CHILD="1")])
        await stack.services_ready()
        running = stack.status()
    grandchildren = [
        int(pid) for s in running for pid in re.findall(r"^child (\d+)$", s.log.read_text(), re.M)
    ]
    assert len(grandchildren) == 2
    assert not any(map(is_alive, grandchildren))
    assert not any(is_alive(status.pid) for status in running if status.pid)
    assert all(is_free(status.port) for status in running)
    assert all(status.state is State.STOPPED for status in stack.status())


async def test_a_service_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "_SERVICE_GRACE", 0.2)
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVICE}"
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE) as stack:
        stack.start_services([ServiceSpec("stubborn", (sys.executable, "-c", stubborn))])
        await stack.services_ready()
    (status,) = stack.status()
    assert status.exit_code == -signal.SIGKILL


async def test_a_second_stack_takes_the_next_free_name(stack: Stack, tmp_path: Path) -> None:
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE) as second:
        assert (stack.name, second.name) == ("default", "default-2")
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE) as third:
        assert third.name == "default-2"


async def test_the_name_of_a_running_stack_is_refused(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(StackRunning, match="default"):
        Stack.claim(tmp_path, stack.name, facility=tmp_path / "f.yaml")


async def test_a_stack_that_was_stopped_lets_the_next_one_be(tmp_path: Path) -> None:
    first = Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE)
    await first.stop()
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=ELSEWHERE) as second:
        second.start_services([service()])
        await second.services_ready()
        await first.stop()
        assert [is_alive(status.pid) for status in second.status() if status.pid] == [True]


def test_an_object_store_without_its_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="SHOTWATCH_STORE_SECRET_KEY"):
        Stack.claim(
            tmp_path, facility=tmp_path / "f.yaml", settings={"SHOTWATCH_STORE_URL": "http://store.invalid"}
        )


async def test_a_server_that_cannot_start_is_named_with_its_exit_code_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {name: value for name, value in ELSEWHERE.items() if "DATABASE" not in name}
    folder = tmp_path / "default" / "database"
    folder.mkdir(parents=True)
    (folder / "data").write_text("this is not a folder")
    with pytest.raises(ProcessFailed, match=r"database ended at its start with exit code \d+.*database\.log"):
        async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=settings):
            pytest.fail("it started")


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Callable[[], Stack]]:
    """How to take the stack `default`, once, while nothing of it runs."""
    claimed: list[Stack] = []

    def take() -> Stack:
        claimed.append(Stack.claim(tmp_path, "default", facility=tmp_path / "f.yaml", settings=ELSEWHERE))
        return claimed[-1]

    yield take
    for stack in claimed:
        asyncio.run(stack.stop())


def test_a_folder_that_others_can_read_is_closed_when_the_stack_is_taken_again(
    tmp_path: Path, claim: Callable[[], Stack]
) -> None:
    """As stacks were left by versions that did not care."""
    logs, outside = tmp_path / "default" / "logs", tmp_path / "outside"
    logs.mkdir(parents=True)
    for file in (outside, logs / "broker.log", logs / "tool"):
        file.touch()
        file.chmod(0o664)
    (logs / "tool").chmod(0o775)
    (logs / "link").symlink_to(outside)
    claim()
    assert open_to_others(tmp_path / "default") == []
    assert (logs / "tool").stat().st_mode & 0o777 == 0o700
    assert outside.stat().st_mode & 0o777 == 0o664


def test_the_folder_of_another_user_is_refused(tmp_path: Path, claim: Callable[[], Stack]) -> None:
    """Who owns the folder can put files of their own into it, whatever its rights are."""
    (tmp_path / "default").mkdir()
    if os.geteuid() != 0:
        pytest.skip("giving a folder to another user takes root")
    os.chown(tmp_path / "default", 65534, 65534)
    with pytest.raises(StackError, match="belongs to another user"):
        claim()


async def test_a_keys_file_of_the_users_is_used_and_the_stack_has_no_token(tmp_path: Path) -> None:
    own = {**ELSEWHERE, "SHOTWATCH_QUERY_KEYS_FILE": "my keys"}
    async with Stack.claim(tmp_path, facility=tmp_path / "f.yaml", settings=own) as stack:
        assert stack.environment()["SHOTWATCH_QUERY_KEYS_FILE"] == "my keys"
        assert stack.describe().token is None


@pytest.fixture
def forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServiceSpec]:
    """A service that is a module, as those of the path are."""
    (tmp_path / "forked_service.py").write_text(SERVICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def spec(**environment: str) -> ServiceSpec:
        return ServiceSpec("forked", (*PYTHON_MODULE, "forked_service"), environment)

    return spec


@pytest.fixture
async def forking(
    tmp_path: Path, changes: Changes, forked: Callable[..., ServiceSpec]
) -> AsyncIterator[Stack]:
    """A stack with two replicas of that service."""
    claimed = Stack.claim(
        tmp_path,
        facility=tmp_path / "f.yaml",
        settings=ELSEWHERE,
        services=[replace(forked(WORD="own"), replicas=2)],
        on_change=changes,
    )
    async with claimed as stack:
        await stack.services_ready()
        yield stack


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


async def test_a_forked_service_is_as_if_its_command_had_been_executed(forking: Stack) -> None:
    statuses = forking.status()
    facts = [json.loads(await get(status, "/self")) for status in statuses]
    for status, own in zip(statuses, facts, strict=True):
        assert own["session"] == status.pid
        assert own["folder"] == str(Path.cwd())
        assert own["umask"] == 0o077
        # standard input, output and errors, the listening socket, this connection, the folder that is listed
        assert own["files"] == list(range(6))
        assert command_line(status.pid or 0) == [*PYTHON_MODULE, "forked_service"]
        variables = json.loads(await get(status, "/environment"))
        assert forking.environment("forked").items() <= variables.items()
        assert variables["WORD"] == "own"
        assert variables[HEALTH_PORT] == str(status.port)
        assert "up" in status.log.read_text()
    assert facts[0]["parent"] == facts[1]["parent"] != os.getpid()
    assert not set(facts[0]["random"]) & set(facts[1]["random"])
    assert open_to_others(forking.folder) == []


async def test_a_killed_fork_is_forked_again_and_its_exit_code_shows(
    forking: Stack, changes: Changes
) -> None:
    before = forking.status()[0]
    os.kill(before.pid or 0, signal.SIGKILL)
    down = await changes.one(lambda status: status.state is State.RESTARTING)
    again = await changes.one(lambda status: status.state is State.READY and status.restarts == 1)
    assert (down.name, down.exit_code) == (before.name, -signal.SIGKILL)
    assert again.port == before.port
    assert parent_of(again.pid or 0) == parent_of(forking.status()[1].pid or 0)


async def test_services_outlive_their_fork_server_and_a_new_one_restarts_them(
    forking: Stack, changes: Changes
) -> None:
    first, second = forking.status()
    server = parent_of(first.pid or 0)
    os.kill(server, signal.SIGKILL)
    async with asyncio.timeout(30):
        while parent_of(first.pid or 0) == server:
            await asyncio.sleep(0.05)
    await get(first, "/ready")
    os.kill(first.pid or 0, signal.SIGKILL)
    down = await changes.one(lambda status: status.state is State.RESTARTING)
    again = await changes.one(
        lambda status: status.state is State.READY and status.restarts == 1, deadline=120
    )
    assert (down.name, down.exit_code) == (first.name, UNKNOWN_EXIT)
    assert parent_of(again.pid or 0) != server
    assert forking.status()[1] == second
    assert is_alive(second.pid or 0)


async def test_a_service_with_other_variables_of_the_interpreter_is_not_forked(
    stack: Stack, forked: Callable[..., ServiceSpec], tmp_path: Path
) -> None:
    """They act when an interpreter starts."""
    stack.start_services([forked(PYTHONPATH=f"{tmp_path}{os.pathsep}/elsewhere")])
    await stack.services_ready()
    (status,) = stack.status()
    assert parent_of(status.pid or 0) == os.getpid()


def test_what_services_share_starts_no_thread_and_opens_no_file() -> None:
    """Else a fork would lack the thread, or share the file."""
    code = (
        "import importlib, os\n"
        "from shotwatch_embedded.fork_server import SHARED\n"
        "for module in SHARED: importlib.import_module(module)\n"
        "print(len(os.listdir('/proc/self/task')), sorted(map(int, os.listdir('/proc/self/fd'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **ONE_THREAD, **NO_THREADS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 [0, 1, 2, 3]\n"  # the last file is the listed folder
