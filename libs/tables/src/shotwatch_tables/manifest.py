"""The manifest of a day table: which files hold the shots of a place and day. And the keys of both.

    place=LA-A1-11/day=2022-07-01/_manifest.json
    place=LA-A1-11/day=2022-07-01/hour-07-5f0c3a1be2d44c67.parquet

A file is never changed: other content gets another name. A manifest is replaced as a whole, so each reader
sees one state of the day. Files that no manifest names any more are removed later (GRACE_MS).
"""

from hashlib import blake2b
from typing import Self

import pyarrow as pa
from pydantic import Field, ValidationError

from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.message import Message
from shotwatch_shots.place import Place
from shotwatch_shots.pulses import epoch_ms, instant
from shotwatch_tables.ranges import MAX_RANGES_CHARACTERS

MANIFEST = "_manifest.json"
"""The name of a manifest in the folder of its day. Readers of data sets skip names that begin with `_`."""
SUFFIX = ".parquet"
GRACE_MS = 900_000
"""Time for which a file stays after its replacement, so that readers of the earlier manifest find it (ms)."""
MAX_MANIFEST_BYTES = 1 << 20
MAX_PIECES_BYTES = 1 << 20
MAX_TABLE_BYTES = 512 << 20
"""Maximum size of a file; an hour of 1,000 columns at 10 Hz has 25 MB."""


class TableFile(Message):
    """A file of a day table: the shots of one hour."""

    key: str
    start: int
    """Epoch ms at which the hour begins."""
    rows: int = Field(ge=0)
    size: int = Field(ge=0, le=MAX_TABLE_BYTES)
    """In bytes."""
    first: int
    """Epoch ms of the first shot."""
    last: int
    """Epoch ms of the last shot."""
    pieces_at: int = Field(0, ge=0)
    """Where the description of its pieces begins (`pieces`)."""
    pieces_size: int = Field(0, ge=0, le=MAX_PIECES_BYTES)
    """Length of that description; 0 if there is none, as in files of earlier versions."""
    ranges: str = Field("", max_length=MAX_RANGES_CHARACTERS)
    """The ranges of its columns (`ranges`); empty if they are not known, as for files of earlier versions."""


class DayManifest(Message):
    """The files that hold the shots of one place and day (UTC), sorted by time."""

    version: int = 1
    place: Place
    day: int
    """Epoch ms at which the day begins."""
    files: tuple[TableFile, ...] = ()

    @classmethod
    def parse(cls, data: bytes, key: str) -> Self:
        """Return the manifest that an object holds.

        Raises:
            ValueError: the object is not a manifest; the message names it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ValueError(f"{key}: not a manifest of a day table: {error}") from error

    @property
    def key(self) -> str:
        return f"{day_folder(self.place, self.day)}{MANIFEST}"

    def file(self, hour: int) -> TableFile | None:
        """Return the file of the hour that begins at a time (epoch ms)."""
        return next((each for each in self.files if each.start == hour), None)

    def with_file(self, file: TableFile) -> Self:
        """Return the manifest with this file in place of the one of the same hour."""
        others = [each for each in self.files if each.start != file.start]
        files = sorted([*others, file], key=lambda each: each.start)
        return self.model_copy(update={"files": tuple(files)})


def place_folder(place: Place) -> str:
    return f"place={place}/"


def day_folder(place: Place, day: int) -> str:
    """Return the folder of a day (epoch ms at which it begins) in the table bucket."""
    return f"{place_folder(place)}day={instant(day):%Y-%m-%d}/"


def place_of(folder: str) -> Place:
    """Return the place of a folder such as `place=LA-A1-11`.

    Raises:
        ValueError: the name is not that of the folder of a place.
    """
    return Place.parse(folder.removeprefix("place="))


def day_of(folder: str) -> int:
    """Return when the day of a folder such as `day=2022-07-01` begins (epoch ms).

    Raises:
        ValueError: the name is not that of the folder of a day.
    """
    return epoch_ms(instant(0).fromisoformat(f"{folder.removeprefix('day=')}T00:00:00+00:00"))


def file_key(place: Place, hour: int, content: pa.Buffer) -> str:
    """Return the key of a file with the shots of an hour (epoch ms at which it begins)."""
    digest = blake2b(content, digest_size=8).hexdigest()
    return f"{day_folder(place, day_start(hour))}hour-{instant(hour):%H}-{digest}{SUFFIX}"


def hour_start(time_ms: int) -> int:
    return time_ms // HOUR_MS * HOUR_MS


def day_start(time_ms: int) -> int:
    return time_ms // DAY_MS * DAY_MS
