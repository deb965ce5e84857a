"""Labels that the simulator wrote, read without its code."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def read_labels(folder: Path) -> list[Any]:
    """Return the labels of a folder, lists in them as tuples."""
    documents = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return [
        SimpleNamespace(**{k: tuple(v) if isinstance(v, list) else v for k, v in each.items()})
        for each in documents
    ]
