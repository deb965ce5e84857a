"""The facility file on disk."""

from pathlib import Path

from shotwatch_shots.facility import Facility, FacilityError
from shotwatch_shots.facility_parsing import parse_facility


def load_facility(path: Path) -> Facility:
    """Read and check a facility file.

    Raises:
        FacilityError: the file is missing, is not YAML, or has invalid content; the message names file and
            line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FacilityError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_facility(text, str(path))
