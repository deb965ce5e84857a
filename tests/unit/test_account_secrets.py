"""The passwords that a set-up gives to accounts."""

import re
from pathlib import Path

import pytest

from shotwatch_common.settings import SettingsError
from shotwatch_operations.account_secrets import read_secrets

FILE = "database-{}-password"


def test_an_account_has_the_password_in_its_file_and_one_without_a_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "database-ingest-password").write_text("of ingest\n")
    (tmp_path / "store-validate-secret-key").write_text("of something else")
    assert read_secrets(tmp_path, ("ingest", "validate"), FILE) == {"ingest": "of ingest"}
    assert read_secrets(None, ("ingest", "validate"), FILE) == {}


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b"seven77\n", "7 characters, fewer than 8"), (b"\xff" * 8, "utf-8")]
)
def test_a_file_that_holds_no_password_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "database-ingest-password"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{re.escape(str(file))}: .*{why}"):
        read_secrets(tmp_path, ("ingest",), FILE)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-folder"):
        read_secrets(tmp_path / "no-such-folder", ("ingest",), FILE)
