"""RabbitMQ's definitions: accounts, permissions, policies; and the page that lists them."""

import base64
import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from shotwatch_common.services import SERVICES
from shotwatch_common.settings import SettingsError
from shotwatch_common.topology import STAGES, Topology
from shotwatch_operations.broker.accounts import accounts_of, definitions, read_passwords

ACCOUNTS = [account.name for account in accounts_of(Topology())]
PASSWORDS = {name: f"password of {name}" for name in ACCOUNTS}
_spec = importlib.util.spec_from_file_location(
    "broker_page", Path(__file__).parents[2] / "scripts" / "broker_accounts.py"
)
assert _spec is not None
assert _spec.loader is not None
written = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(written)


def test_every_stage_has_one_service_that_works_on_it():
    assert sorted(stage for service in SERVICES for stage in service.consumes) == sorted(STAGES)


@pytest.mark.parametrize("prefix", ["", "test-"])
def test_every_account_has_permissions_and_the_hash_of_its_password(prefix: str):
    made = definitions(PASSWORDS, Topology(prefix))
    assert {each["user"] for each in made["permissions"]} == {each["name"] for each in made["users"]}
    assert {each["name"] for each in made["users"]} == {prefix + name for name in ACCOUNTS}
    for user in made["users"]:
        stored = base64.b64decode(user["password_hash"])
        salt, digest = stored[:4], stored[4:]
        password = PASSWORDS[user["name"].removeprefix(prefix)]
        assert digest == hashlib.sha256(salt + password.encode()).digest()


def test_all_accounts_together_and_each_by_itself_open_a_bounded_number_of_connections():
    """The figures are those of the section "Limits" in docs/broker-accounts.md."""
    made = definitions(PASSWORDS, Topology())
    (together,) = made["parameters"]
    assert (together["component"], together["value"]) == ("vhost-limits", {"max-connections": 500})
    service, operator = (64, 512), (20, 20)
    limits = {
        each["name"]: (each["limits"]["max-connections"], each["limits"]["max-channels"])
        for each in made["users"]
    }
    assert limits == dict.fromkeys(ACCOUNTS, service) | {"operator": operator}


def test_no_account_of_one_system_has_a_right_in_another_on_the_same_broker():
    one, other = (definitions(PASSWORDS, Topology(prefix)) for prefix in ("", "test-"))
    shared = {"amq.topic", "amq.default"}
    for rights, strangers in ((one, Topology("test-")), (other, Topology())):
        names = [each.name for each in (*strangers.exchanges, *strangers.queues, strangers.events)]
        for each in rights["permissions"]:
            allowed = [
                n for n in names for right in ("configure", "write", "read") if re.search(each[right], n)
            ]
            assert set(allowed) <= shared, each["user"]
    (of_store,) = (each for each in other["topic_permissions"] if each["user"] == "test-store")
    assert re.search(of_store["write"], "test-shotwatch.objects")
    assert not re.search(of_store["write"], "shotwatch.objects")


def test_passwords_are_read_from_files_and_a_missing_or_empty_one_is_named(tmp_path: Path):
    for name, password in PASSWORDS.items():
        (tmp_path / f"broker-{name}-password").write_text(f"{password}\n")
    assert read_passwords(tmp_path) == PASSWORDS
    (tmp_path / "broker-operator-password").write_text("\n")
    with pytest.raises(SettingsError, match="broker-operator-password: the file is empty"):
        read_passwords(tmp_path)
    (tmp_path / "broker-operator-password").unlink()
    with pytest.raises(SettingsError, match=r"broker-operator-password: .*No such file"):
        read_passwords(tmp_path)


def test_the_page_lists_the_accounts_as_they_are():
    assert written.PAGE.read_text(encoding="utf-8") == written.page(), "run `make broker-accounts`"
