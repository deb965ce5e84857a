"""`shotwatch upload`: which files go under which keys."""

import os
from pathlib import Path

import pytest

from shotwatch_cli.failures import Failure
from shotwatch_cli.uploads import planned_uploads


def touch(path: Path, size: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_files_of_a_folder_keep_their_paths_below_it(tmp_path: Path) -> None:
    touch(tmp_path / "LA" / "a.h5", 3)
    touch(tmp_path / "b.h5", 4)
    uploads = planned_uploads([tmp_path])
    assert [(upload.key, upload.size) for upload in uploads] == [("LA/a.h5", 3), ("b.h5", 4)]


def test_a_file_named_by_itself_keeps_its_name_whatever_it_is_called(tmp_path: Path) -> None:
    assert [upload.key for upload in planned_uploads([touch(tmp_path / "LA" / "anomalous.txt")])] == [
        "anomalous.txt"
    ]


def test_files_beside_the_snapshots_stay_behind(tmp_path: Path) -> None:
    touch(tmp_path / "a.h5")
    touch(tmp_path / "labels.json")
    assert [upload.key for upload in planned_uploads([tmp_path])] == ["a.h5"]


def test_two_files_for_one_key_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.h5")
    touch(tmp_path / "two" / "a.h5")
    with pytest.raises(Failure, match=r"would both be the object a\.h5"):
        planned_uploads([tmp_path / "one", tmp_path / "two"])


def test_an_empty_folder_is_a_failure_that_explains_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"holds no \.h5 file") as failure:
        planned_uploads([tmp_path])
    assert "shotwatch simulate" in failure.value.advice


@pytest.mark.parametrize("made", ["pipe", "link", "folder"])
def test_what_is_no_file_in_a_folder_is_named_and_nothing_is_uploaded(tmp_path: Path, made: str) -> None:
    touch(tmp_path / "prepared" / "a.h5")
    wrong = tmp_path / "prepared" / "b.h5"
    if made == "pipe":
        os.mkfifo(wrong)
    elif made == "link":
        wrong.symlink_to(touch(tmp_path / "secret"))
    else:
        wrong.mkdir()
    with pytest.raises(Failure, match=r"b\.h5 is a link or no regular file"):
        planned_uploads([tmp_path / "prepared"])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(Failure, match="neither a file nor a folder"):
        planned_uploads([tmp_path / "a.h5"])
