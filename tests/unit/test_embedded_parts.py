"""The parts of the embedded stack that need no server."""

import json
import socket
from pathlib import Path

import pytest

from shotwatch_embedded import install
from shotwatch_embedded.credentials import Credentials
from shotwatch_embedded.description import StackDescription, find_stack, running_stacks
from shotwatch_embedded.errors import ProcessFailed, RabbitMQMissing, StackNotFound
from shotwatch_embedded.keeper import Backoff
from shotwatch_embedded.lock import is_held, take
from shotwatch_embedded.ports import LOOPBACK, Ports, is_free
from shotwatch_embedded.services import path_services
from shotwatch_embedded.status import Role, State, Status


def test_the_pause_before_a_restart_doubles_from_half_a_second_to_thirty() -> None:
    backoff = Backoff()
    assert [backoff.after(lived=1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_life_of_a_minute_makes_the_pause_short_again() -> None:
    backoff = Backoff()
    pauses = [backoff.after(lived) for lived in (1, 1, 1, 60, 1)]
    assert pauses == [0.5, 1, 2, 0.5, 1]


def test_no_port_is_handed_out_twice() -> None:
    ports = Ports()
    taken = [ports.take() for _ in range(500)]
    assert len(set(taken)) == len(taken)


def test_two_stacks_that_start_at_once_are_handed_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    both_wish_for = [Ports().take(), *(port for port in range(20_000, 20_100) if is_free(port))]
    monkeypatch.setattr("random.sample", lambda *_: both_wish_for[::-1])
    assert Ports().take() != Ports().take()


def test_a_port_is_free_again_when_its_listener_is_gone() -> None:
    port = Ports().take()
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)
    assert is_free(port)


def test_the_path_has_one_replica_of_each_service_unless_told_otherwise() -> None:
    counts = {service.name: service.replicas for service in path_services({"inference": 3})}
    assert counts == dict.fromkeys(counts, 1) | {"inference": 3}
    assert {"ingest", "validate", "aggregate", "features", "history", "query"} < counts.keys()


def test_replicas_of_an_unknown_service_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="digest"):
        path_services({"digest": 2})


def test_credentials_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    first, second = Credentials.of(tmp_path), Credentials.of(tmp_path)
    assert first == second
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_two_stacks_have_different_credentials(tmp_path: Path) -> None:
    folders = (tmp_path / "a", tmp_path / "b")
    for folder in folders:
        folder.mkdir()
    a, b = map(Credentials.of, folders)
    assert a.broker_password != b.broker_password
    assert a.store_secret_key != b.store_secret_key


def test_credentials_of_an_older_version_are_kept_and_what_they_lack_is_made_once(tmp_path: Path) -> None:
    older = {"broker_password": "b", "store_access_key": "a", "store_secret_key": "s"}
    (tmp_path / "credentials.json").write_text(json.dumps(older))
    first, second = Credentials.of(tmp_path), Credentials.of(tmp_path)
    assert first == second
    assert older.items() <= first.model_dump().items()
    assert len(first.database_password) == 40
    assert len(first.token) >= 43


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


def test_a_description_without_a_living_supervisor_is_no_running_stack(tmp_path: Path) -> None:
    _describe(tmp_path, "default")
    assert running_stacks(tmp_path) == []


def test_where_no_stack_runs_one_is_told_how_to_start_one(tmp_path: Path) -> None:
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
