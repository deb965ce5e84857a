"""The scores of each series in each hour, which set the thresholds of later hours."""

from collections.abc import Collection
from math import isfinite

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, number, readable_one, text
from shotwatch_common.archive.versioned import save_version
from shotwatch_common.clock import epoch_now
from shotwatch_shots.models import MOST_BLOCKS, BlockScores, OwnThresholds, ScoredHour
from shotwatch_shots.vocabulary import AnomalyKind

_MOST_BYTES = 256
"""Of a bitmap of blocks: five times as many as an hour has."""


class ScoredHours:
    """Collection `scored_hours`: `_id` is series, version of the model and hour; `version` counts changes.

    A change is written only if the document has not changed since it was read. The thresholds of an hour do
    not change. Blocks are numbered from `first` on. `at` is when the document last changed (epoch ms).
    """

    def __init__(self, database: Database) -> None:
        self._hours = database["scored_hours"]

    async def ensure_indexes(self) -> None:
        await self._hours.create_index([("series", 1), ("model", 1), ("hour", 1)])
        await self._hours.create_index([("at", 1)])

    async def load(self, series: str, model: str, hour: int) -> ScoredHour | None:
        """Return an hour (since the epoch); None if it has no shots yet, or its document is malformed."""
        document = await self._hours.find_one({"_id": _id(series, model, hour)})
        return readable_one(document, _decoded, "scored_hours")

    async def past(self, series: str, model: str, start: int, end: int) -> list[ScoredHour]:
        """Return the hours with start <= hour < end that have shots, in their order."""
        wanted = {"series": series, "model": model, "hour": {"$gte": start, "$lt": end}}
        found = self._hours.find(wanted).sort("hour", 1)
        return await all_readable(found, _decoded, "scored_hours")

    async def newest(self, series: str, model: str) -> ScoredHour | None:
        """Return the newest hour of a series that has shots; None without one."""
        found = self._hours.find({"series": series, "model": model}).sort("hour", -1).limit(1)
        return next(iter(await all_readable(found, _decoded, "scored_hours")), None)

    async def save(self, hour: ScoredHour) -> bool:
        """Write version n over version n - 1, or the first version.

        Return False if another process has changed the document since it was read.
        """
        return await save_version(self._hours, _encoded(hour))

    async def forget(self, before: int) -> None:
        """Delete the hours that have not changed since a time (epoch ms)."""
        await self._hours.delete_many({"at": {"$lt": before}})


def _id(series: str, model: str, hour: int) -> str:
    return f"{series}/{model}/{hour}"


def _encoded(hour: ScoredHour) -> Document:
    scores, thresholds = hour.scores, hour.thresholds
    first = min(scores.seen, default=0)
    return {
        "_id": _id(hour.series, hour.model, hour.hour),
        "series": hour.series,
        "model": hour.model,
        "hour": hour.hour,
        "version": hour.version,
        "at": epoch_now(),
        "fitted": thresholds.fitted,
        "own": {kind.value: threshold for kind, threshold in thresholds.own.items()},
        "past_since": thresholds.since,
        "past_blocks": thresholds.blocks,
        "supported_per_hour": thresholds.supported_per_hour,
        "first": first,
        "seen": _bitmap(scores.seen, first),
        "left_out": _bitmap(scores.left_out, first),
        "alarmed": _bitmap(scores.alarmed, first),
        "highest": {
            kind.value: {"blocks": list(of_blocks), "scores": list(of_blocks.values())}
            for kind, of_blocks in scores.highest.items()
        },
    }


def _decoded(document: Document) -> ScoredHour:
    first, since, supported = (
        number(document["first"]),
        document["past_since"],
        document["supported_per_hour"],
    )
    thresholds = OwnThresholds(
        _real(document["fitted"]),
        {AnomalyKind(kind): _real(threshold) for kind, threshold in document["own"].items()},
        None if since is None else number(since),
        number(document["past_blocks"]),
        None if supported is None else _real(supported),
    )
    scores = BlockScores(
        _blocks(document["seen"], first),
        _blocks(document["left_out"], first),
        _blocks(document["alarmed"], first),
        {AnomalyKind(kind): _highest(of_blocks) for kind, of_blocks in document["highest"].items()},
    )
    series, model = text(document["series"]), text(document["model"])
    return ScoredHour(
        series, model, number(document["hour"]), thresholds, number(document["version"]), scores
    )


def _bitmap(blocks: Collection[int], first: int) -> bytes:
    bits = sum(1 << block - first for block in blocks)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _blocks(bitmap: object, first: int) -> frozenset[int]:
    if not isinstance(bitmap, bytes) or len(bitmap) > _MOST_BYTES:
        raise TypeError(f"{type(bitmap).__name__} is not a bitmap of the blocks of an hour")
    bits = int.from_bytes(bitmap, "little")
    return frozenset(first + n for n in range(bits.bit_length()) if bits >> n & 1)


def _highest(of_blocks: Document) -> dict[int, float]:
    blocks, scores = of_blocks["blocks"], of_blocks["scores"]
    if len(blocks) > MOST_BLOCKS:
        raise ValueError(f"{len(blocks)} blocks are more than {MOST_BLOCKS}")
    return {number(block): _real(score) for block, score in zip(blocks, scores, strict=True)}


def _real(value: object) -> float:
    """Return a value that is a finite positive number.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} is not a number")
    if not isfinite(value) or value < 0:
        raise ValueError(f"{value} is not a finite number of at least zero")
    return float(value)
