"""The parts of the embedded stack that need no server."""

import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from shotwatch_common.listening import listener
from shotwatch_embedded import install
from shotwatch_embedded.credentials import Credentials
from shotwatch_embedded.description import StackDescription, find_stack, running_stacks
from shotwatch_embedded.errors import ProcessFailed, RabbitMQMissing, StackNotFound
from shotwatch_embedded.keeper import Backoff
from shotwatch_embedded.lock import is_held, take
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers.store import store
from shotwatch_embedded.services import path_services
from shotwatch_embedded.status import Role, State, Status


def test_the_pause_before_a_restart_doubles_from_half_a_second_to_thirty() -> None:
    backoff = Backoff()
    assert [backoff.after(lived=1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_life_of_a_minute_makes_the_pause_short_again() -> None:
    backoff = Backoff()
    pauses = [backoff.after(lived) for lived in (1, 1, 1, 60, 1)]
    assert pauses == [0.5, 1, 2, 0.5, 1]


@pytest.fixture
def ports() -> Iterator[Ports]:
    ports = Ports()
    yield ports
    ports.release()


def test_a_store_keeps_the_hash_of_its_etags(ports: Ports, tmp_path: Path) -> None:
    def etag_hash(folder: Path) -> str:
        command = store(folder, "access", "secret", ports).command
        return command[command.index("--etag-hash") + 1]

    older = tmp_path / "of an earlier release"
    (older / "buckets" / "inbox").mkdir(parents=True)
    for _ in "first start", "second start":
        assert etag_hash(older) == "md5"
        assert etag_hash(tmp_path / "new") == "xxh128"


def test_no_port_is_handed_out_twice(ports: Ports) -> None:
    taken = [ports.take() for _ in range(500)]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
@pytest.mark.parametrize("host", [LOOPBACK, ""])
def test_a_port_that_somebody_has_bound_is_not_handed_out(
    ports: Ports, monkeypatch: pytest.MonkeyPatch, option: int, host: str
) -> None:
    free = ports.take()
    ports.release()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind((host, 0))
        monkeypatch.setattr("random.sample", lambda *_: [free, other.getsockname()[1]])
        assert Ports().take() == free


def test_two_stacks_that_start_at_once_are_handed_different_ports(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [ports.take(), ports.take()]
    ports.release()
    monkeypatch.setattr("random.sample", lambda *_: list(wanted))
    first, second = Ports(), Ports()
    assert {first.take(), second.take()} == set(wanted)


def test_a_port_is_served_by_whom_it_was_handed_to_and_refused_before(ports: Ports) -> None:
    port = ports.take()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port))
    with listener(LOOPBACK, port) as server, socket.create_connection((LOOPBACK, port)) as client:
        assert server.accept()[1] == client.getsockname()


def test_the_path_has_one_replica_of_each_service_unless_configured_otherwise() -> None:
    counts = {service.name: service.replicas for service in path_services({"inference": 3})}
    assert counts == dict.fromkeys(counts, 1) | {"inference": 3}
    assert {"ingest", "validate", "aggregate", "features", "history", "query"} < counts.keys()


def test_replicas_of_an_unknown_service_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="digest"):
        path_services({"digest": 2})


def test_every_start_has_secrets_of_its_own() -> None:
    first, second = asdict(Credentials()), asdict(Credentials())
    secrets = [*first.values(), *second.values()]
    assert len(set(secrets)) == 2 * len(first)
    assert min(map(len, secrets)) >= 40


def test_the_address_of_the_page_carries_the_token_where_browsers_never_send_it(tmp_path: Path) -> None:
    ports = {"SHOTWATCH_QUERY_PORT": 8001}
    query = Status("query-1", Role.SERVICE, State.READY, 1, 0, None, tmp_path / "log", 8000, ports)
    stack = StackDescription(name="s", folder=tmp_path, pid=1, environment={}, processes=(query,), token="t")
    assert stack.page_urls == ("http://127.0.0.1:8001/#token=t",)
    assert stack.model_copy(update={"token": None}).page_urls == ("http://127.0.0.1:8001/",)


def test_a_lock_has_one_holder_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    held = take(tmp_path)
    assert held is not None
    assert take(tmp_path) is None
    held.close()
    assert not is_held(tmp_path)


def _describe(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    StackDescription(name=name, folder=folder, pid=1, environment={}, processes=()).write()
    return folder


def test_a_stack_runs_until_its_supervisor_ends_or_starts_another(tmp_path: Path) -> None:
    folder = _describe(tmp_path, "default")
    with take(folder) or pytest.fail("not locked"):
        stack = find_stack(tmp_path)
        assert stack.runs
        stack.model_copy(update={"environment": {"SHOTWATCH_BROKER_URL": "amqp://new"}}).write()
        assert not stack.runs
        (folder / "stack.json").unlink()
        assert not stack.runs
        stack.write()
    assert not stack.runs


def test_a_description_without_a_living_supervisor_is_no_running_stack(tmp_path: Path) -> None:
    _describe(tmp_path, "default")
    assert running_stacks(tmp_path) == []


def test_where_no_stack_runs_the_error_explains_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(StackNotFound, match="shotwatch up"):
        find_stack(tmp_path)


def test_the_only_stack_that_runs_needs_no_name(tmp_path: Path) -> None:
    with take(_describe(tmp_path, "night")) or pytest.fail("not locked"):
        assert find_stack(tmp_path).name == "night"


def test_of_several_stacks_one_must_be_named(tmp_path: Path) -> None:
    held = [take(_describe(tmp_path, name)) for name in ("default", "default-2")]
    with pytest.raises(StackNotFound, match=r"default, default-2"):
        find_stack(tmp_path)
    assert find_stack(tmp_path, "default-2").name == "default-2"
    with pytest.raises(StackNotFound, match="no stack called other"):
        find_stack(tmp_path, "other")
    for lock in held:
        assert lock is not None
        lock.close()


def test_a_failed_process_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    message = str(ProcessFailed("store", "ended", log))
    assert str(log) in message
    assert "line 99" in message
    assert "line 9\n" not in message


def test_a_missing_rabbitmq_is_reported_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "SCRIPT", tmp_path / "rabbitmq-server")
    with pytest.raises(RabbitMQMissing, match=r"apt-get install rabbitmq-server.*SHOTWATCH_BROKER_URL"):
        install.ensure_rabbitmq(install=False)
