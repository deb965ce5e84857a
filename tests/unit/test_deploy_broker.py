"""RabbitMQ's definitions: accounts, permissions, policies."""

import base64
import hashlib
import importlib.util
from pathlib import Path

import pytest

from shotwatch_common.topology import STAGES

FILE = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.py"
spec = importlib.util.spec_from_file_location("definitions", FILE)
assert spec is not None
assert spec.loader is not None
broker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(broker)

ACCOUNTS = [*broker.STAGES_OF, *broker.OTHERS]
PASSWORDS = {f"BROKER_{name.upper()}_PASSWORD": f"password of {name}" for name in ACCOUNTS}


def test_every_stage_has_one_service_that_works_on_it():
    assert sorted(stage for stages in broker.STAGES_OF.values() for stage in stages) == sorted(STAGES)


def test_every_account_has_permissions_and_the_hash_of_its_password():
    made = broker.definitions(PASSWORDS)
    assert {each["user"] for each in made["permissions"]} == {each["name"] for each in made["users"]}
    for user in made["users"]:
        stored = base64.b64decode(user["password_hash"])
        salt, digest = stored[:4], stored[4:]
        password = PASSWORDS[f"BROKER_{user['name'].upper()}_PASSWORD"]
        assert digest == hashlib.sha256(salt + password.encode()).digest()


def test_an_account_without_a_password_is_refused():
    with pytest.raises(KeyError, match="BROKER_OPERATOR_PASSWORD"):
        broker.definitions({k: v for k, v in PASSWORDS.items() if "OPERATOR" not in k})
