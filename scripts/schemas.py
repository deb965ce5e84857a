"""Write the JSON Schemas of events and messages to docs/schemas; a test compares them with the code."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from shotwatch_shots.batch import ShotBatch, ShotsMeasured
from shotwatch_shots.event import DATA_SCHEMA, Anomaly, AnomalyEvent
from shotwatch_shots.records import FileIngested, FileValidated

CONTRACTS: Mapping[str, type[BaseModel]] = {
    "Anomaly.v1": Anomaly,
    "AnomalyEvent.v1": AnomalyEvent,
    "FileIngested": FileIngested,
    "FileValidated": FileValidated,
    "ShotBatch": ShotBatch,
    "ShotsMeasured": ShotsMeasured,
}
"""The contracts by the names of their files, with a version if they are for other programs than ours."""
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def schema_of(contract: type[BaseModel]) -> str:
    """Return the schema of a contract as the content of its file."""
    schema = contract.model_json_schema(by_alias=True)
    if contract is Anomaly:
        schema["$id"] = DATA_SCHEMA
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, contract in CONTRACTS.items():
        (FOLDER / f"{name}.json").write_text(schema_of(contract), encoding="utf-8")
