"""Labels: what is odd about the shots in a folder of snapshot files, and what it should be called."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from shotwatch_shots.vocabulary import AnomalyKind

LABELS_FILE = "labels.json"


@dataclass(frozen=True, slots=True)
class Label:
    """One anomaly in the files, as it was put there."""

    kind: str
    """What was done: an `anomalies.Kind`, or `regime_change`."""
    expected: AnomalyKind
    """What a detector should call it."""
    severity: float
    shots: tuple[str, ...]
    """Ids of the shots that are odd."""
    devices: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the files that hold, or should have held, these devices' records of these shots."""


def write_labels(folder: Path, labels: Iterable[Label]) -> Path:
    """Write the labels of a folder beside its files."""
    path = folder / LABELS_FILE
    path.write_text(json.dumps([asdict(label) for label in labels], indent=1) + "\n", encoding="utf-8")
    return path
