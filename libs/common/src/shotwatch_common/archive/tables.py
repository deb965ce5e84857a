"""What has changed since the day tables were written, and who may write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, id_of, needed, number, text, texts
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import CompletedBatch
from shotwatch_shots.place import Place

_NAME = "tables"
_WRITER, _NOTED = "writer", "noted"


@dataclass(frozen=True, slots=True)
class ChangedHour:
    """An hour of a place with shots that its table does not have yet, or has at an earlier revision."""

    place: Place
    start: int
    """Epoch ms."""
    windows: tuple[str, ...]
    """Ids of the windows with such shots."""
    first_at: int
    """When the first of these changes happened, epoch ms."""
    last_at: int
    """When the last of these changes happened, epoch ms."""
    version: int

    @property
    def name(self) -> str:
        return f"{self.place}/{self.start}"


@dataclass(frozen=True, slots=True)
class FileToCheck:
    """A file that a manifest may not name, or not any more. If none does when it is due, it is removed."""

    key: str
    place: Place
    day: int
    """Epoch ms."""
    due_at: int
    """Epoch ms."""


class Tables:
    """Collection `tables`, which is small: changed hours, files to check, and two documents.

    A changed hour has the id `hour/{place}/{start}`, and a `version` that each change raises. A file to check
    has its key. `writer` is the lease of the only process that writes tables, with its `holder`. `noted` has
    the time up to which changes are noted.
    """

    def __init__(self, database: Database) -> None:
        self._tables = database["tables"]

    async def lease(self, holder: str, length_ms: int) -> bool:
        """Take or extend the lease; return whether this holder has it for `length_ms` from now on.

        Raises:
            Retry: the document of the lease is malformed.
        """
        now = epoch_now()
        held = needed(await self._tables.find_one({"_id": _WRITER}), _held, _NAME)
        if held is None:
            return await self._first_lease(holder, now + length_ms)
        holding, leased_until = held
        if holding != holder and leased_until > now:
            return False
        # Compare-and-set: if another process has taken or extended it meanwhile, nothing matches.
        unchanged = {"_id": _WRITER, "holder": holding, "leased_until": leased_until}
        change = {"holder": holder, "leased_until": now + length_ms}
        result = await self._tables.update_one(unchanged, {"$set": change})
        return bool(result.matched_count)

    async def noted_until(self) -> int | None:
        """Return the time before which all changes are noted (epoch ms); None if none ever were.

        Raises:
            Retry: its document is malformed.
        """
        document = await self._tables.find_one({"_id": _NOTED})
        return needed(document, lambda each: number(each["noted_until"]), _NAME)

    async def note(self, changed: Mapping[tuple[Place, int], Sequence[CompletedBatch]], until: int) -> None:
        """Record the batches that changed hours of places, then that changes before `until` are noted."""
        marks = [_mark(place, start, batches) for (place, start), batches in changed.items()]
        if marks:
            await self._tables.bulk_write(marks, ordered=False)
        await self._tables.update_one({"_id": _NOTED}, {"$set": {"noted_until": until}}, upsert=True)

    async def changed(self) -> list[ChangedHour]:
        """Return the hours with changes that no table has yet; those that have waited longest come first."""
        found = await all_readable(self._tables.find({"what": "hour"}), _hour, _NAME)
        return sorted(found, key=lambda hour: (hour.first_at, hour.name))

    async def written(self, hour: ChangedHour) -> None:
        """Record that a table has these changes. An hour that has changed again stays."""
        await self._tables.delete_one({"_id": f"hour/{hour.name}", "version": hour.version})

    async def check_later(self, keys: Sequence[str], place: Place, day: int, due_at: int) -> None:
        """Record that files of a day are to be checked from `due_at` on (epoch ms)."""
        about = {"what": "file", "place": str(place), "day": day, "due_at": due_at}
        changes = [UpdateOne({"_id": key}, {"$set": about}, upsert=True) for key in keys]
        if changes:
            await self._tables.bulk_write(changes, ordered=False)

    async def to_check(self) -> list[FileToCheck]:
        """Return the files whose check is due."""
        due = self._tables.find({"what": "file", "due_at": {"$lt": epoch_now()}})
        return await all_readable(due, _to_check, _NAME)

    async def checked(self, file: FileToCheck) -> None:
        """Record that a file was checked. One whose check was noted again stays."""
        await self._tables.delete_one({"_id": file.key, "due_at": file.due_at})

    async def _first_lease(self, holder: str, until: int) -> bool:
        try:
            await self._tables.insert_one({"_id": _WRITER, "holder": holder, "leased_until": until})
        except DuplicateKeyError:
            return False
        return True


def _mark(place: Place, start: int, batches: Sequence[CompletedBatch]) -> UpdateOne:
    return UpdateOne(
        {"_id": f"hour/{place}/{start}"},
        {
            "$setOnInsert": {"what": "hour", "place": str(place), "start": start},
            "$addToSet": {"windows": {"$each": sorted({each.window for each in batches})}},
            "$min": {"first_at": min(each.at for each in batches)},
            "$max": {"last_at": max(each.at for each in batches)},
            "$inc": {"version": 1},
        },
        upsert=True,
    )


def _held(document: Document) -> tuple[str, int]:
    """Return the holder of the lease, and until when it has it (epoch ms)."""
    return text(document["holder"]), number(document["leased_until"])


def _to_check(document: Document) -> FileToCheck:
    place = Place.parse(text(document["place"]))
    return FileToCheck(id_of(document), place, number(document["day"]), number(document["due_at"]))


def _hour(document: Document) -> ChangedHour:
    return ChangedHour(
        Place.parse(text(document["place"])),
        number(document["start"]),
        tuple(sorted(texts(document["windows"]))),
        number(document["first_at"]),
        number(document["last_at"]),
        number(document["version"]),
    )
