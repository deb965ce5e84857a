"""Write the JSON Schemas of the public contracts to docs/schemas; a test compares them with the code."""

import json
from pathlib import Path

from pydantic import BaseModel

from shotwatch_shots.batch import ShotBatch, ShotsMeasured
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.records import FileIngested, FileValidated

CONTRACTS: tuple[type[BaseModel], ...] = (
    AnomalyEvent,
    FileIngested,
    FileValidated,
    ShotBatch,
    ShotsMeasured,
)
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def schema_of(contract: type[BaseModel]) -> str:
    """Return the schema of a contract as the content of its file."""
    return json.dumps(contract.model_json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for contract in CONTRACTS:
        (FOLDER / f"{contract.__name__}.json").write_text(schema_of(contract), encoding="utf-8")
