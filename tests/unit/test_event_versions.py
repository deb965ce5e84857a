"""Version 1 of the anomaly event may gain things and lose none: subscribers and stored events rely on it.

`contracts/v1.schema.json` is the schema of version 1 as it was when the version began, and `contracts/v1` has
events of this version. Neither is ever changed. Their contents are made up.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shotwatch_shots.event import DATA_SCHEMA, AnomalyEvent

FOLDER = Path(__file__).parent / "contracts"
REPOSITORY = Path(__file__).resolve().parents[2]
FROZEN = json.loads((FOLDER / "v1.schema.json").read_text(encoding="utf-8"))
EVENTS = sorted((FOLDER / "v1").glob("*.json"))
IN_WORDS = {"title", "description", "examples", "default"}
"""Keywords of a schema that do not restrict which values are valid."""

Schema = dict[str, Any]


def breaches(frozen: Schema, current: Schema) -> list[str]:
    """Return where a schema is no additive change of a frozen one, with the reason.

    Two changes are additive: a new property that is not required, and a new value of an enumeration.
    """
    return _breaches(_resolved(frozen, frozen["$defs"]), _resolved(current, current["$defs"]), "event")


def _resolved(schema: Any, definitions: Schema) -> Any:
    """Return a schema with what it refers to in place of each reference: names of definitions are free."""
    if isinstance(schema, list):
        return [_resolved(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    return {name: _resolved(each, definitions) for name, each in schema.items() if name != "$defs"}


def _breaches(frozen: Any, current: Any, where: str) -> list[str]:
    if isinstance(frozen, dict) and isinstance(current, dict):
        return _of_schemas(frozen, current, where)
    if isinstance(frozen, list) and isinstance(current, list) and len(frozen) == len(current):
        pairs = zip(frozen, current, strict=True)
        return [breach for n, pair in enumerate(pairs) for breach in _breaches(*pair, f"{where}[{n}]")]
    return [] if frozen == current else [f"{where}: {frozen} became {current}"]


def _of_schemas(frozen: Schema, current: Schema, where: str) -> list[str]:
    found = []
    for name in sorted((frozen.keys() | current.keys()) - IN_WORDS):
        old, new = frozen.get(name), current.get(name)
        if name == "properties" and old and new:
            found += [f"{where}: {lost} was removed" for lost in sorted(old.keys() - new.keys())]
            for kept in sorted(old.keys() & new.keys()):
                found += _breaches(old[kept], new[kept], f"{where}.{kept}")
        elif name == "enum" and old and new:
            found += [f"{where}: the value {lost} was removed" for lost in old if lost not in new]
        elif name == "required":
            found += [f"{where}: {each} is required now" for each in new or () if each not in (old or ())]
            found += [f"{where}: {each} may be absent now" for each in old or () if each not in (new or ())]
        else:
            found += _breaches(old, new, f"{where}.{name}")
    return found


def current() -> Schema:
    return AnomalyEvent.model_json_schema(by_alias=True)


def test_the_current_schema_is_an_additive_change_of_version_1() -> None:
    assert breaches(FROZEN, current()) == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_of_version_1_is_still_valid_and_is_read_without_loss(path: Path) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    for schema in (FROZEN, current()):
        jsonschema.validate(event, schema, jsonschema.Draft202012Validator)
    read = AnomalyEvent.model_validate(event).model_dump(mode="json", by_alias=True)
    assert _kept(event, read) == event


def _kept(old: Any, new: Any) -> Any:
    """Return what a newer form of an event has of the properties of an older form."""
    if isinstance(old, dict):
        return {name: _kept(old[name], new[name]) for name in old}
    if isinstance(old, list):
        return [_kept(*pair) for pair in zip(old, new, strict=True)]
    return new


def test_the_examples_cover_every_phase() -> None:
    phases = {json.loads(path.read_text(encoding="utf-8"))["data"]["phase"] for path in EVENTS}
    assert phases == set(FROZEN["$defs"]["Phase"]["enum"])


def test_what_a_later_release_adds_does_not_disturb_a_subscriber_of_this_one() -> None:
    event = json.loads(EVENTS[0].read_text(encoding="utf-8"))
    later = {**event, "tracestate": "a=1", "data": {**event["data"], "operator": "amelie"}}
    jsonschema.validate(later, FROZEN, jsonschema.Draft202012Validator)
    assert AnomalyEvent.model_validate(later) == AnomalyEvent.model_validate(event)


def test_an_event_names_the_schema_of_its_data() -> None:
    schema = json.loads((REPOSITORY / "docs" / "schemas" / "Anomaly.v1.json").read_text(encoding="utf-8"))
    event = json.loads(EVENTS[0].read_text(encoding="utf-8"))
    jsonschema.validate(event["data"], schema, jsonschema.Draft202012Validator)
    assert schema["$id"] == DATA_SCHEMA == AnomalyEvent.model_validate(event).data_schema


def _anomaly(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["Anomaly"]
    return found


def _add(schema: Schema) -> None:
    _anomaly(schema)["properties"]["operator"] = {"type": "string"}


def _add_kind(schema: Schema) -> None:
    schema["$defs"]["AnomalyKind"]["enum"].append("new_kind")


def _rename_definition(schema: Schema) -> None:
    schema["$defs"]["Modes"] = schema["$defs"].pop("Phase")
    _anomaly(schema)["properties"]["phase"] = {"$ref": "#/$defs/Modes"}


def _reword(schema: Schema) -> None:
    _anomaly(schema)["description"] = "In other words."


@pytest.mark.parametrize("change", [_add, _add_kind, _rename_definition, _reword])
def test_an_additive_change_is_allowed(change: Callable[[Schema], None]) -> None:
    changed = deepcopy(FROZEN)
    change(changed)
    assert changed != FROZEN
    assert breaches(FROZEN, changed) == []


def _require(schema: Schema) -> None:
    _add(schema)
    _anomaly(schema)["required"].append("operator")


def _make_optional(schema: Schema) -> None:
    _anomaly(schema)["required"].remove("why")


def _remove(schema: Schema) -> None:
    del _anomaly(schema)["properties"]["why"]


def _change_type(schema: Schema) -> None:
    _anomaly(schema)["properties"]["score"]["type"] = "integer"


def _forbid_null(schema: Schema) -> None:
    _anomaly(schema)["properties"]["model"] = {"$ref": "#/$defs/ModelRef"}


def _change_items(schema: Schema) -> None:
    _anomaly(schema)["properties"]["devices"]["items"]["type"] = "integer"


def _remove_kind(schema: Schema) -> None:
    schema["$defs"]["AnomalyKind"]["enum"].remove("trend")


def _forbid_more(schema: Schema) -> None:
    _anomaly(schema)["additionalProperties"] = False


def _limit(schema: Schema) -> None:
    _anomaly(schema)["properties"]["why"]["maxLength"] = 80


def _change_version(schema: Schema) -> None:
    schema["properties"]["dataschema"]["const"] = "urn:shotwatch:anomaly:v2"


@pytest.mark.parametrize(
    "change",
    [
        _require,
        _make_optional,
        _remove,
        _change_type,
        _forbid_null,
        _change_items,
        _remove_kind,
        _forbid_more,
        _limit,
        _change_version,
    ],
)
def test_any_other_change_is_found(change: Callable[[Schema], None]) -> None:
    changed = deepcopy(FROZEN)
    change(changed)
    assert breaches(FROZEN, changed) != []
