"""The judgements of challengers, which run in shadow beside the champion and publish nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import COUNTABLE, all_readable, id_of
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.columns import pack
from shotwatch_shots.vocabulary import AnomalyKind


@dataclass(frozen=True, slots=True)
class ShadowRecord:
    """The judgements of a version in shadow."""

    shots: int
    anomalous: int
    """Shots that it would have judged anomalous."""


class Shadows:
    """Collection `shadows`: `_id` is batch id and version. Columns have one entry per shot of the batch."""

    def __init__(self, database: Database) -> None:
        self._shadows = database["shadows"]

    async def ensure_indexes(self) -> None:
        await self._shadows.create_index([("version", 1), ("start", 1)])

    async def keep(
        self,
        batch: ShotBatch,
        version: str,
        scores: NDArray[np.float64],
        kinds: Mapping[int, Sequence[AnomalyKind]],
    ) -> None:
        """Write the scores (n,) of a batch and the kinds of its anomalous shots.

        Repeating the write changes nothing.
        """
        document = {
            "place": str(batch.series.place),
            "interval": batch.series.interval,
            "batch": batch.batch_id,
            "version": version,
            "start": int(batch.pulses.min()),
            "shots": len(batch.pulses),
            "anomalous": len(kinds),
            "pulses": pack(batch.pulses, "<i8"),
            "score": pack(scores, "<f4"),
            "kinds": {str(shot): [kind.value for kind in of_shot] for shot, of_shot in kinds.items()},
        }
        id_ = f"{batch.batch_id}/{version}"
        await self._shadows.replace_one({"_id": id_}, {"_id": id_, **document}, upsert=True)

    async def records(self, versions: Sequence[str]) -> dict[str, ShadowRecord]:
        """Return the shadow record of each of these versions that was ever in shadow."""
        counts = {"shots": {"$sum": "$shots"}, "anomalous": {"$sum": "$anomalous"}}
        groups = self._shadows.aggregate(
            [
                {"$match": {"version": {"$in": list(versions)}, "shots": COUNTABLE, "anomalous": COUNTABLE}},
                {"$group": {"_id": "$version", **counts}},
            ]
        )
        return dict(await all_readable(groups, _record, "shadows"))


def _record(group: Document) -> tuple[str, ShadowRecord]:
    return id_of(group), ShadowRecord(round(group["shots"]), round(group["anomalous"]))
