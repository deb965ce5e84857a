"""The schemas in the repository are those of the code, and messages survive the wire."""

import importlib.util
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.records import FileValidated, ObjectRef

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("schemas", REPOSITORY / "scripts" / "schemas.py")
assert _spec is not None
assert _spec.loader is not None
schemas = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(schemas)


@pytest.mark.parametrize("name", schemas.CONTRACTS)
def test_the_schema_in_the_repository_is_that_of_the_code(name: str) -> None:
    written = (schemas.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert written == schemas.schema_of(schemas.CONTRACTS[name]), "run `make schemas`"


@pytest.mark.parametrize("name", schemas.CONTRACTS)
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.CONTRACTS[name].model_json_schema(by_alias=True))


def test_a_message_with_unknown_fields_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        FileValidated.model_validate_json(
            '{"object": {"object_id": "a", "bucket": "b", "key": "k", "etag": "e", "size": 1,'
            ' "arrived_at": 1}, "devices": [], "more": 1}'
        )


def test_a_message_survives_the_wire() -> None:
    obj = ObjectRef(object_id="a", bucket="b", key="k", etag="e", size=1, arrived_at=1)
    message = FileValidated(object=obj, devices=[])
    assert FileValidated.model_validate_json(message.model_dump_json()) == message


def test_an_event_carries_the_attributes_of_a_cloud_event() -> None:
    required = AnomalyEvent.model_json_schema(by_alias=True)["required"]
    assert {"id", "source", "subject", "time", "traceparent", "data"} <= set(required)
