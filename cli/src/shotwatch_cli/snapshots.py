"""What `simulate` and `pack` report about the files that they wrote."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.table import Table

from shotwatch_cli.output import counting, megabytes, table
from shotwatch_simulator.labels import Label


@dataclass(frozen=True, slots=True)
class Written:
    """The files in a folder, and the anomalies in them."""

    folder: Path
    files: int
    bytes: int
    labels: tuple[Label, ...]

    def record(self) -> dict[str, object]:
        labels = [asdict(label) for label in self.labels]
        return {"folder": str(self.folder), "files": self.files, "bytes": self.bytes, "labels": labels}

    def shown(self) -> Table | str:
        title = f"{self.files} files, {megabytes(self.bytes)}, in {self.folder}"
        if not self.labels:
            return title
        columns = ("injected", "to be called", "severity#", "shots#", "first shot")
        return table(title, columns, _rows(self.labels))


def write_all(paths: Iterator[Path], expected: int, folder: Path, labels: Sequence[Label]) -> Written:
    """Write the files, with a progress bar."""
    with counting() as progress:
        task = progress.add_task("writing files", total=expected)
        sizes = [path.stat().st_size for path in progress.track(paths, task_id=task)]
    return Written(folder, len(sizes), sum(sizes), tuple(labels))


def minutes_ago(duration: timedelta) -> datetime:
    """Return the start of the full minute from which this duration ends at about the current time."""
    return (datetime.now(UTC) - duration).replace(second=0, microsecond=0)


def _rows(labels: Iterable[Label]) -> Iterator[tuple[object, ...]]:
    for label in labels:
        yield label.kind, label.expected, f"{label.severity:g}", len(label.shots), label.shots[0]
