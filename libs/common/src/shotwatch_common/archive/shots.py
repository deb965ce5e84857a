"""Shots as people query them: one document per shot, written once its verdict is known."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pymongo import UpdateOne

from shotwatch_common.archive.driver import Database, Document, Filter
from shotwatch_common.archive.earliest import earliest
from shotwatch_common.archive.insertion import insert_new
from shotwatch_common.archive.readable import (
    all_readable,
    id_of,
    number,
    readable,
    readable_one,
    shown,
    text,
    texts,
)
from shotwatch_common.archive.secantus_gaps import among, parts, steps
from shotwatch_common.archive.shot_candidates import marks_of
from shotwatch_common.archive.shot_counts import ShotCounts, SpanPart
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import ModelRef
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import shot_id, window_of_shot
from shotwatch_shots.reconciliation.sides import StoredShot
from shotwatch_shots.records import VALID
from shotwatch_shots.shot import JudgedShot, RefusedRecord, ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind, Severity

PARTS = 20
"""Number of parts from which a long time range is sampled."""
ANY_SHOT = ShotFilter()
_NAME = "shots"
_TEN_SECONDS_MS = 10_000
"""Length of the times whose shots are reconciled at once: 800 at the facility's full rate."""


@dataclass(frozen=True, slots=True)
class FoundShots:
    """The shots of a part of a span that match a filter."""

    start: int
    """Epoch ms."""
    end: int
    """Epoch ms after the part."""
    shots: Sequence[JudgedShot]
    """In reading order: by pulse, then by id."""


class Shots:
    """Collection `shots`: `_id` is the shot id.

    Writing a revision changes nothing if the shot is already at that revision or a later one.
    """

    def __init__(self, database: Database) -> None:
        self._shots = database[_NAME]
        self._counts = ShotCounts(database)

    async def ensure_indexes(self) -> None:
        await self._shots.create_index([("pulse", 1)])
        await self._shots.create_index([("place", 1), ("pulse", 1)])
        await self._shots.create_index([("marks", 1), ("pulse", 1)])
        await self._counts.ensure_indexes()

    async def write(
        self, batch: ShotBatch, verdicts: Sequence[ShotVerdict], model: ModelRef | None, trace_id: str
    ) -> set[str]:
        """Write the shots of a batch with their verdicts, which are in the order of its pulses.

        Return the ids of those that have no later revision.
        """
        documents = shot_documents(batch, verdicts, model, trace_id)
        await self._counts.add(batch, verdicts)
        if await insert_new(self._shots, documents):
            return set(batch.shot_ids)
        revised = [_revision_of(document) for document in documents if document["revision"] > 1]
        if revised:
            await self._shots.bulk_write(revised, ordered=False)
        stored = await self.revisions(batch.shot_ids)
        return {
            document["_id"] for document in documents if stored.get(document["_id"]) == document["revision"]
        }

    async def forget(self, batch: ShotBatch) -> None:
        """Delete the shots of a batch, except those that a later batch has closed again."""
        for some in parts(batch.shot_ids):  # SecantusDB takes 0.7 ms of CPU to delete one
            of_batch = {"_id": {"$in": some}, "batch": batch.batch_id}
            shots = await all_readable(self._shots.find(of_batch), _shot, _NAME)
            await self._shots.delete_many(of_batch)
            await self._counts.subtract(shots)

    async def first_judged(self) -> int | None:
        """Return when a shot was judged for the first time (epoch ms); None if none was."""
        return await self._counts.first_judged()

    async def revisions(self, shots: Sequence[str]) -> dict[str, int]:
        """Return the current revision of each of these shots."""
        found = among(self._shots, "_id", shots, {"revision": 1})
        return dict(await all_readable(found, lambda each: (id_of(each), number(each["revision"])), _NAME))

    async def find(self, shot: str) -> JudgedShot | None:
        document = await self._shots.find_one({"_id": shot})
        return readable_one(document, _shot, _NAME)

    async def search(
        self, wanted: ShotFilter, start_ms: int, end_ms: int, newest_first: bool = False, limit: int = 0
    ) -> AsyncIterator[FoundShots]:
        """Yield the shots with start <= pulse < end (epoch ms) that match, part by part in reading order.

        The parts cover the whole span, and none of them takes the database long. They adapt to the density of
        shots, and are smaller in the beginning if the caller needs only `limit` shots.
        """
        async for part in self._counts.parts(wanted, start_ms, end_ms, newest_first, limit):
            shots = [shot async for shot in readable(self._read(part), _shot, _NAME) if wanted.accepts(shot)]
            shots.sort(key=lambda shot: (shot.pulse, shot.id), reverse=newest_first)
            yield FoundShots(part.start, part.end, shots)

    async def page(
        self, wanted: ShotFilter, start_ms: int, end_ms: int, limit: int = 0, newest_first: bool = False
    ) -> list[JudgedShot]:
        """Return the shots with start <= pulse < end (epoch ms) that match, sorted by pulse, then by id.

        A limit of 0 means no limit.
        """
        found: list[JudgedShot] = []
        async for part in self.search(wanted, start_ms, end_ms, newest_first, limit):
            found += part.shots
            if 0 < limit <= len(found):
                return found[:limit]
        return found

    async def spread(
        self, wanted: ShotFilter, most: int, start_ms: int = 0, end_ms: int | None = None
    ) -> list[JudgedShot]:
        """Return up to `most` matching shots with start <= pulse < end (epoch ms), sorted by pulse.

        Without `end_ms`, the range ends now. The range from the first to the last matching shot is divided
        into PARTS parts, and neighbouring shots are taken from each. So the sample covers the whole range,
        yet needs few files.
        """
        end_ms = epoch_now() if end_ms is None else end_ms
        oldest = await self.page(wanted, start_ms, end_ms, 1)
        newest = await self.page(wanted, start_ms, end_ms, 1, newest_first=True)
        if not oldest or not newest:
            return []
        first, length = oldest[0].pulse, newest[0].pulse + 1 - oldest[0].pulse
        bounds = [first + length * n // PARTS for n in range(PARTS + 1)]
        parts = [await self.page(wanted, *part, -(-most // PARTS)) for part in pairwise(bounds)]
        return [shot for part in parts for shot in part][:most]

    async def stored(self, start_ms: int, end_ms: int) -> list[StoredShot]:
        """Return the shots with start <= pulse < end (epoch ms) and their revisions, also uncounted shots."""
        wanted = dict.fromkeys(("window", "pulse", "revision", "place", "interval", "batch", "index"), 1)
        return [
            shot
            for begin, stop in steps(start_ms, end_ms, _TEN_SECONDS_MS)
            async for shot in readable(self._read(SpanPart(begin, stop, ({},)), wanted), _stored, _NAME)
        ]

    async def first_pulse(self, start_ms: int, end_ms: int) -> int | None:
        """Return the time of the first stored shot in [start, end) (epoch ms); None if there is none.

        An uncounted shot, which was added outside the services, is found too: the time before the first
        counted shot is searched without the counts.
        """
        counted = await self.page(ANY_SHOT, start_ms, end_ms, 1)
        uncounted = await earliest(
            self._shots, _NAME, "pulse", start_ms, counted[0].pulse if counted else end_ms
        )
        return counted[0].pulse if counted and uncounted is None else uncounted

    async def count(self, wanted: ShotFilter, start_ms: int, end_ms: int) -> int:
        return sum([len(part.shots) async for part in self.search(wanted, start_ms, end_ms)])

    async def _read(self, part: SpanPart, fields: Filter | None = None) -> AsyncIterator[Document]:
        """Yield the documents that the queries of a part find."""
        pulses = {"$gte": part.start, "$lt": part.end}
        for equalities in part.queries:
            async for document in self._shots.find({**equalities, "pulse": pulses}, fields):
                yield document


def shot_documents(
    batch: ShotBatch, verdicts: Sequence[ShotVerdict], model: ModelRef | None, trace_id: str
) -> list[Document]:
    """Return one document per shot of the batch."""
    series = batch.series
    common = {
        "place": str(series.place),
        "interval": series.interval,
        "window": batch.window_id,
        "batch": batch.batch_id,
        "model": model.model_dump() if model else None,
        "trace_id": trace_id,
        "judged_at": epoch_now(),
    }
    missing, refused = _missing(batch), _refused(batch)
    columns = zip(
        batch.shot_ids, batch.pulses.tolist(), batch.revisions.tolist(), batch.complete.tolist(), strict=True
    )
    return [
        {
            "_id": id_,
            **common,
            "score": verdicts[n].score,
            "threshold": verdicts[n].threshold,
            "kinds": [kind.value for kind in verdicts[n].kinds],
            "severity": _value(verdicts[n].severity),
            "marks": marks_of(verdicts[n], complete),
            "pulse": pulse,
            "index": n,
            "revision": revision,
            "complete": complete,
            "missing": missing[n],
            "refused": refused[n],
        }
        for n, (id_, pulse, revision, complete) in enumerate(columns)
    ]


def _shot(document: Document) -> JudgedShot:
    severity, model = document["severity"], document["model"]
    return JudgedShot(
        id=id_of(document),
        series=ShotSeries(place=Place.parse(document["place"]), interval=document["interval"]),
        pulse=number(document["pulse"]),
        revision=number(document["revision"]),
        window=text(document["window"]),
        batch=text(document["batch"]),
        index=number(document["index"]),
        complete=bool(document["complete"]),
        missing=texts(document["missing"]),
        refused=tuple(
            RefusedRecord(text(each["device"]), text(each["reason"])) for each in document["refused"]
        ),
        verdict=ShotVerdict(
            _real(document["score"]),
            _real(document["threshold"]),
            tuple(map(AnomalyKind, document["kinds"])),
            None if severity is None else Severity(severity),
        ),
        model=None if model is None else ModelRef(**model),
        trace_id=text(document["trace_id"]),
        judged_at=number(document["judged_at"]),
    )


def _stored(document: Document) -> StoredShot:
    pulse, revision = number(document["pulse"]), number(document["revision"])
    series = ShotSeries(place=Place.parse(document["place"]), interval=document["interval"])
    ids = shot_id(series, pulse), window_of_shot(series, pulse)
    batch, index = text(document["batch"]), number(document["index"])
    return StoredShot(id_of(document), text(document["window"]), pulse, revision, *ids, batch, index)


def _real(value: object) -> float | None:
    if not isinstance(value, float | int | None):
        raise TypeError(f"{shown(value)} is not a number")
    return value


def _value(severity: Severity | None) -> str | None:
    return None if severity is None else severity.value


def _missing(batch: ShotBatch) -> list[list[str]]:
    """Return the devices without a record, for each shot."""
    missing: list[list[str]] = [[] for _ in range(len(batch.pulses))]
    for member in batch.members:
        for n in np.flatnonzero(~member.present):
            missing[n].append(member.device)
    return missing


def _refused(batch: ShotBatch) -> list[list[dict[str, str]]]:
    """Return the devices whose record was refused, with the reason, for each shot."""
    refused: list[list[dict[str, str]]] = [[] for _ in range(len(batch.pulses))]
    for member in batch.members:
        for n in np.flatnonzero(member.verdict != VALID):
            refused[n].append({"device": member.device, "reason": member.reasons[member.verdict[n] - 1]})
    return refused


def _revision_of(document: Document) -> UpdateOne:
    changes = {name: value for name, value in document.items() if name != "_id"}
    earlier = {"_id": document["_id"], "revision": {"$lt": document["revision"]}}
    return UpdateOne(earlier, {"$set": changes})
