"""Files of a folder that a command skipped: listed for people on stderr, and in its JSON."""

from collections.abc import Sequence

from rich.text import Text

from shotwatch_cli.output import stderr
from shotwatch_simulator.image_reader import SkippedFile

MOST_LISTED = 20


def skipped_record(skipped: Sequence[SkippedFile]) -> dict[str, object]:
    """Return how many files were skipped, and name and reason of the first `MOST_LISTED`."""
    listed = [{"file": file.name, "reason": file.reason} for file in skipped[:MOST_LISTED]]
    return {"skipped": len(skipped), "skipped_files": listed}


def list_skipped(skipped: Sequence[SkippedFile]) -> None:
    """Print a line for each of the first `MOST_LISTED` files, and how many more there are."""
    for file in skipped[:MOST_LISTED]:
        stderr.print(Text(f"skipped {file.name}: {file.reason}"), soft_wrap=True)
    if len(skipped) > MOST_LISTED:
        stderr.print(f"skipped {len(skipped) - MOST_LISTED} more files")
