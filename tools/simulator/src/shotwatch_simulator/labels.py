"""Labels: which shots in a folder of snapshot files are anomalous, and the kind that should be reported."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from shotwatch_shots.vocabulary import AnomalyKind

LABELS_FILE = "labels.json"


@dataclass(frozen=True, slots=True)
class Label:
    """One anomaly in the files, as it was injected."""

    kind: str
    """The injected kind: an `anomalies.Kind`, or `regime_change`."""
    expected: AnomalyKind
    """The kind that a detector should report."""
    severity: float
    shots: tuple[str, ...]
    """Ids of the anomalous shots."""
    devices: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the files that hold, or should have held, the records of these devices for these shots."""


def write_labels(folder: Path, labels: Iterable[Label]) -> Path:
    """Write the labels of a folder beside its files."""
    path = folder / LABELS_FILE
    path.write_text(json.dumps([asdict(label) for label in labels], indent=1) + "\n", encoding="utf-8")
    return path
