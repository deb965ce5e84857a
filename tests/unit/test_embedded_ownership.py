"""On a machine that others use, a stack of another user is neither trusted nor opened."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shotwatch_cli.deployment import find_deployment
from shotwatch_cli.failures import Failure
from shotwatch_cli.steps import run_steps
from shotwatch_embedded.description import StackDescription, find_stack
from shotwatch_embedded.errors import StackError
from shotwatch_embedded.lock import take
from shotwatch_embedded.ports import Ports
from shotwatch_embedded.private import make_private
from shotwatch_embedded.servers.database import database
from shotwatch_embedded.servers.models import models
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack

ENVIRONMENT = {
    "SHOTWATCH_FACILITY": "facility.yaml",
    "SHOTWATCH_BROKER_URL": "amqp://u:p@broker.invalid/",
    "SHOTWATCH_DATABASE_URL": "mongodb://database.invalid/",
    "SHOTWATCH_STORE_URL": "http://store.invalid",
    "SHOTWATCH_STORE_ACCESS_KEY": "key",
    "SHOTWATCH_STORE_SECRET_KEY": "secret",
    "SHOTWATCH_MODELS_URL": "http://models.invalid",
}
STRANGER = 65534


def _give_to_a_stranger(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file to another user takes root")
    os.chown(path, STRANGER, STRANGER)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """How to make the folder of a stack that runs, under `tmp_path / "stacks"`."""
    held = []

    def run(name: str) -> Path:
        folder = tmp_path / "stacks" / name
        folder.mkdir(parents=True)
        StackDescription(name=name, folder=folder, pid=1, environment=ENVIRONMENT, processes=()).write()
        held.append(take(folder))
        return folder

    yield run
    for lock in held:
        assert lock is not None
        lock.close()


@pytest.mark.parametrize("name", [None, "theirs"])
@pytest.mark.parametrize("what", [".", "..", "stack.json", "stack.lock"])
def test_a_stack_of_another_user_is_refused_by_its_folder_and_owner(
    running: Callable[[str], Path], what: str, name: str | None
) -> None:
    folder = running("theirs")
    _give_to_a_stranger(folder / what)
    with pytest.raises(StackError, match=r"stacks.* belongs to another user, nobody"):
        find_stack(folder.parent, name)


def test_a_stack_is_found_beside_those_of_others(running: Callable[[str], Path]) -> None:
    ours, theirs = running("ours"), running("theirs")
    ours.parent.chmod(0o1777)
    _give_to_a_stranger(theirs)
    assert find_stack(ours.parent).name == "ours"
    with pytest.raises(StackError, match="belongs to another user"):
        find_stack(ours.parent, "theirs")


@pytest.mark.parametrize("name", ["stack.lock", "stack.json"])
def test_a_link_or_a_fifo_is_no_file_of_a_stack_and_nobody_waits_for_it(
    running: Callable[[str], Path], name: str
) -> None:
    folder = running("default")
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(StackError, match=name):
        find_stack(folder.parent)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(StackError, match=name):
        find_stack(folder.parent)


def test_a_description_sets_no_variable_but_settings(running: Callable[[str], Path]) -> None:
    folder = running("default")
    text = (folder / "stack.json").read_text()
    (folder / "stack.json").write_text(
        text.replace('"environment": {', '"environment": {"PYTHONPATH": "/x",')
    )
    deployment = find_deployment(folder.parent, "default")
    assert deployment.environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    assert deployment.environment["SHOTWATCH_STORE_URL"] == "http://store.invalid"


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Callable[[Path], Stack]]:
    """How to take the stack `default` under a root."""
    claimed: list[Stack] = []

    def take_under(root: Path) -> Stack:
        claimed.append(
            Stack.claim(root, "default", facility=tmp_path / "facility.yaml", settings=ENVIRONMENT)
        )
        return claimed[-1]

    yield take_under
    for stack in claimed:
        asyncio.run(stack.stop())


@pytest.mark.parametrize("linked", ["stacks", "stacks/default"])
def test_a_link_is_not_taken_for_the_folder_of_a_stack(
    tmp_path: Path, claim: Callable[[Path], Stack], linked: str
) -> None:
    private = tmp_path / "mine"
    (private / "default").mkdir(parents=True)
    (private / "file").touch(mode=0o644)
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(private)
    with pytest.raises(StackError, match=f"{linked} is a link"):
        claim(tmp_path / "stacks")
    assert (private / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("above", ["shared", "shared/stacks"])
def test_a_folder_that_another_user_can_replace_is_refused(
    tmp_path: Path, claim: Callable[[Path], Stack], above: str
) -> None:
    (tmp_path / "shared" / "stacks" / "default").mkdir(parents=True)
    (tmp_path / above).chmod(0o777)
    with pytest.raises(StackError, match=f"other users may write to .*{above}.*chmod go-w"):
        claim(tmp_path / "shared" / "stacks")
    (tmp_path / above).chmod(0o755)
    _give_to_a_stranger(tmp_path / above)
    with pytest.raises(StackError, match=f"{above} belongs to another user"):
        claim(tmp_path / "shared" / "stacks")


def test_a_folder_of_ones_own_in_a_place_for_everybody_is_taken(
    tmp_path: Path, claim: Callable[[Path], Stack]
) -> None:
    """As in /tmp: who does not own a folder there cannot rename it."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    assert claim(tmp_path / "shared" / "stacks").name == "default"


def test_a_group_may_write_only_if_the_user_is_alone_in_it(
    tmp_path: Path, claim: Callable[[Path], Stack]
) -> None:
    """Many systems make a group for each user, and let it write to whatever the user creates."""
    if os.geteuid() != 0:
        pytest.skip("giving a folder to a group takes root")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks").chmod(0o775)
    os.chown(tmp_path / "stacks", 0, STRANGER)
    with pytest.raises(StackError, match="other users may write"):
        claim(tmp_path / "stacks")
    os.chown(tmp_path / "stacks", 0, 0)
    assert claim(tmp_path / "stacks").name == "default"


def test_a_file_that_becomes_a_link_while_a_folder_is_closed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write to the folder can exchange a file at any moment."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    folder.mkdir(mode=0o755)
    outside.touch(mode=0o644)
    (folder / "link").symlink_to(outside)
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    make_private(folder)
    assert outside.stat().st_mode & 0o777 == 0o644


def test_no_program_is_imported_from_the_folder_in_which_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("print('{}')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match="No module named only_here"):
        run_steps("only_here", {}, [])


def test_no_process_of_a_stack_imports_from_the_folder_in_which_it_runs(tmp_path: Path) -> None:
    ports = Ports()
    servers = (database(tmp_path, "secret", ports), models(tmp_path, "secret", "secret", ports))
    ports.release()
    for process in (*path_services(), *servers):
        assert process.command[:3] == (sys.executable, "-P", "-m")
