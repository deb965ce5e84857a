"""API keys: what is kept of them, and the commands for them."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IMODE

import pytest
from typer.testing import CliRunner

from shotwatch_cli.main import app
from shotwatch_common.settings import SettingsError
from shotwatch_operations.api_keys import ApiKey, make_key, read_keys
from shotwatch_query.access.key_ring import KeyRing
from shotwatch_shots.vocabulary import Scope

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READ = frozenset({Scope.READ})


def test_a_line_reports_all_of_a_key_but_the_key() -> None:
    secret, key = make_key("amelie", frozenset({Scope.READ, Scope.LABEL}), NOW)
    assert ApiKey.read(key.line()) == key
    assert secret.removeprefix("shotwatch_") not in key.line()


def test_a_key_opens_until_it_expires() -> None:
    secret, key = make_key("amelie", READ, NOW)
    assert key.opens_with(secret, NOW - timedelta(seconds=1))
    assert not key.opens_with(secret, NOW)
    assert not key.opens_with(secret + "x", NOW - timedelta(seconds=1))


@pytest.mark.parametrize(
    "line",
    [
        "amelie read never",
        "amelie write never sha256:" + "0" * 64,
        "amelie read soon sha256:" + "0" * 64,
        "amelie read never md5:0",
        "a/b read never sha256:" + "0" * 64,
    ],
)
def test_a_line_that_is_no_key_is_named_and_disturbs_no_other(line: str) -> None:
    _, key = make_key("amelie", READ, None)
    keys, mistakes = read_keys(f"# of the operators\n\n{line}\n{key.line()}\n")
    assert keys == (key,)
    assert [mistake.split(":")[0] for mistake in mistakes] == ["line 3"]


def test_two_keys_of_one_name_are_a_mistake() -> None:
    lines = [make_key("amelie", READ, None)[1].line() for _ in range(2)]
    assert len(read_keys("\n".join(lines))[1]) == 1


def test_a_keys_file_that_is_missing_or_wrong_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SHOTWATCH_QUERY_KEYS_FILE"):
        KeyRing(tmp_path / "keys")
    (tmp_path / "keys").write_text("nonsense\n")
    with pytest.raises(SettingsError, match="line 1"):
        KeyRing(tmp_path / "keys")


def test_a_secret_that_is_exchanged_under_its_link_is_read_again(tmp_path: Path) -> None:
    """As Kubernetes mounts it."""
    (first, one), (second, other) = make_key("one", READ, None), make_key("other", READ, None)
    (tmp_path / "first").write_text(one.line())
    (tmp_path / "second").write_text(other.line())
    link = tmp_path / "keys"
    link.symlink_to("first")
    ring = KeyRing(link)
    assert ring.find(first) == one
    link.unlink()
    link.symlink_to("second")
    assert ring.find(first) is None
    assert ring.find(second) == other
    link.unlink()
    assert ring.find(second) is None


def shotwatch_keys(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_commands_make_list_and_revoke_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# of the operators")
    made = ("--scope", "read,label", "--expires", "2999-01-01", "--file", str(file), "--json")
    key = json.loads(shotwatch_keys("create", "--name", "amelie", *made))["key"]
    secret = shotwatch_keys("create", "--name", "grafana", "--file", str(file)).strip()
    ring = KeyRing(file)
    assert [found and found.name for found in map(ring.find, (key, secret))] == ["amelie", "grafana"]
    listed = [json.loads(line) for line in shotwatch_keys("list", "--file", str(file), "--json").splitlines()]
    assert listed[0] == {
        "name": "amelie",
        "scopes": ["label", "read"],
        "expires": "2999-01-01T00:00:00+00:00",
        "expired": False,
    }
    shotwatch_keys("revoke", "amelie", "--file", str(file))
    assert [found and found.name for found in map(ring.find, (key, secret))] == [None, "grafana"]
    assert file.read_text().startswith("# of the operators\n")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_keys_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "keys"
    file.touch()
    file.chmod(mode)
    shotwatch_keys("create", "--name", "amelie", "--file", str(file))
    assert S_IMODE(file.stat().st_mode) == mode
    shotwatch_keys("revoke", "amelie", "--file", str(file))
    assert S_IMODE(file.stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")
def test_a_keys_file_stays_the_property_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.touch(mode=0o600)
    os.chown(file, 1234, 5678)
    shotwatch_keys("create", "--name", "amelie", "--file", str(file))
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 5678)


def test_a_keys_file_that_cannot_keep_its_owner_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("shotwatch_cli.commands.keys.chown", refuse)
    file = tmp_path / "keys"
    file.touch()
    done = CliRunner().invoke(app, ["keys", "create", "--name", "amelie", "--file", str(file)])
    assert done.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
    assert file.read_text() == ""


def test_a_new_keys_file_can_be_read_by_the_api_which_may_be_another_user(tmp_path: Path) -> None:
    shotwatch_keys("create", "--name", "amelie", "--file", str(tmp_path / "keys"))
    assert S_IMODE((tmp_path / "keys").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--name", "a b"),
        ("create", "--name", "amelie", "--scope", "write"),
        ("create", "--name", "amelie", "--scope", ""),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["keys", *arguments])
    assert done.exit_code == 2
