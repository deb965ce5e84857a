"""The folder of a stack's block cache belongs to its user and is gone after the stack, whatever ended it."""

import os
from pathlib import Path

import pytest

from shotwatch_embedded import block_cache
from shotwatch_embedded.block_cache import CacheFolder

STRANGER = 12345


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(block_cache, "_MEMORY", memory)
    monkeypatch.setattr(block_cache, "_MIN_FREE_BYTES", 1)
    return memory


def killed(folder: CacheFolder) -> Path:
    """Release what the kernel releases of a stack that was killed."""
    (folder.path / "block").write_bytes(b"frames")
    os.close(folder._held)
    return folder.path


@pytest.mark.parametrize("free", [1, 1 << 60])
def test_others_have_no_rights_to_it_and_it_is_removed(
    memory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int
) -> None:
    monkeypatch.setattr(block_cache, "_MIN_FREE_BYTES", free)
    folder = CacheFolder(tmp_path / "otherwise")
    assert folder.path.parent == (memory if free == 1 else tmp_path), "on disk, if memory has no room"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "block").write_bytes(b"frames")
    folder.remove()
    assert not folder.path.exists()


def test_the_next_stack_removes_what_a_killed_one_left_and_nothing_of_a_running_one(
    memory: Path, tmp_path: Path
) -> None:
    running = CacheFolder(tmp_path / "otherwise")
    (running.path / "block").write_bytes(b"frames")
    left = killed(CacheFolder(tmp_path / "otherwise"))
    (memory / "other").mkdir()
    following = CacheFolder(tmp_path / "otherwise")
    assert {*memory.iterdir()} == {running.path, following.path, memory / "other"}
    assert left not in {running.path, following.path}
    assert [path.name for path in running.path.iterdir()] == ["block"]
    running.remove()
    following.remove()


def test_a_stack_that_starts_at_the_same_moment_removes_nothing(
    memory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = block_cache._locked

    def late(path: Path) -> int:
        block_cache._remove_abandoned()
        return lock(path)

    monkeypatch.setattr(block_cache, "_locked", late)
    folder = CacheFolder(tmp_path / "otherwise")
    assert [*memory.iterdir()] == [folder.path]
    folder.remove()


def test_what_a_killed_stack_left_on_disk_is_no_part_of_the_next_cache(
    memory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(block_cache, "_MIN_FREE_BYTES", 1 << 60)
    left = killed(CacheFolder(tmp_path / "otherwise"))
    following = CacheFolder(tmp_path / "otherwise")
    assert following.path == left
    assert [*left.iterdir()] == []
    following.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_a_folder_of_another_user_is_neither_read_nor_removed(memory: Path, tmp_path: Path) -> None:
    """They can make a tree so deep that Python's recursion ends, and with it the stack that starts."""
    theirs = memory / "shotwatch-blocks-theirs"
    (theirs / "deep").mkdir(parents=True)
    os.chown(theirs, STRANGER, STRANGER)
    CacheFolder(tmp_path / "otherwise").remove()
    assert [*memory.iterdir()] == [theirs]
    assert [*theirs.iterdir()] == [theirs / "deep"]


def test_no_other_user_can_take_the_name_of_a_folder_that_is_being_made(
    memory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They see the folder under the name that it has until it is locked."""
    lock = block_cache._locked

    def seen(path: Path) -> int:
        path.with_name(path.name.removeprefix(".")).write_text("taken")
        return lock(path)

    monkeypatch.setattr(block_cache, "_locked", seen)
    folder = CacheFolder(tmp_path / "otherwise")
    assert folder.path.is_dir()
    folder.remove()


def test_a_link_of_another_user_leads_nowhere(memory: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    (memory / "shotwatch-blocks-x").symlink_to(victim)
    CacheFolder(tmp_path / "otherwise").remove()
    assert (victim / "file").exists()
