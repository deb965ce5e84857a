"""What the past of a series keeps of a database: in memory, and on the server."""

import asyncio

import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_detector.decision import Judgement
from shotwatch_inference.scoring import OwnPast
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.models import OwnThresholds, ScoredHour
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind
from tests.support.world import LASER

SERIES = ShotSeries.parse("LA-FSD-00-1s")
HOUR, BLOCK_MS, BATCHES = 400_000, 10_000, 12
FIRST = HOUR * HOUR_MS // BLOCK_MS


async def replicas_lose_no_batch_and_enter_none_twice(archive: Archive) -> None:
    """Three replicas enter batches at once, each of them twice, the second time in another replica."""
    replicas = [OwnPast(archive, LASER, 1.0) for _ in range(3)]
    for again in range(2):
        entered = (
            replicas[(n + again) % 3].enter(_batch(n), "3", _scored(1.0 + n), []) for n in range(BATCHES)
        )
        await asyncio.gather(*entered)
    hour = await archive.scored_hours.load(str(SERIES), "3", HOUR)
    assert hour is not None
    assert hour.scores.highest == {AnomalyKind.ENERGY: {FIRST + n: 1.0 + n for n in range(BATCHES)}}
    assert hour.scores.normal == {FIRST + n for n in range(BATCHES)}
    assert hour.version == 1 + BATCHES
    assert await archive.scored_hours.newest(str(SERIES), "3") == hour


async def hours_are_found_by_series_version_and_time_and_deleted_when_old(archive: Archive) -> None:
    hours = [ScoredHour(str(SERIES), "5", hour, OwnThresholds(5.0 + hour)) for hour in (3, 1, 2)]
    assert [await archive.scored_hours.save(hour) for hour in hours] == [True] * 3
    assert not await archive.scored_hours.save(hours[0])
    past = await archive.scored_hours.past(str(SERIES), "5", 1, 3)
    assert [hour.thresholds.fitted for hour in past] == [6.0, 7.0]
    assert await archive.scored_hours.past(str(SERIES), "6", 0, 9) == []
    await archive.scored_hours.forget(1)
    assert len(await archive.scored_hours.past(str(SERIES), "5", 0, 9)) == 3
    await archive.scored_hours.forget(2**42)
    assert await archive.scored_hours.past(str(SERIES), "5", 0, 9) == []


def _batch(n: int) -> ShotBatch:
    """A batch of one shot."""
    pulse = (FIRST + n) * BLOCK_MS
    return ShotBatch(
        batch_id=f"b{n}",
        window_id=f"{SERIES}-20150819T160000",
        series=SERIES,
        pulses=[pulse],
        revisions=[1],
        complete=[True],
        members=[],
        last_arrival=pulse,
    )


def _scored(score: float) -> Judgement:
    return Judgement(np.zeros(1), 5.0, (), {AnomalyKind.ENERGY: np.array([score])})
