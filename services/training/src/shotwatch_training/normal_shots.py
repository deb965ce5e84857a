"""Reading of normal shots from the archive and the object store into arrays."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.past_frames import FrameReader
from shotwatch_common.store import ObjectStore
from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.severity import RULE_KINDS
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.feedback import UNLABELLED, ShotLabels
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.domain.split import evenly
from shotwatch_training.settings import Recipe

SHOTS_PER_PLACE = 1000


class NormalShots:
    """A reader of shots that are complete and judged, without an anomaly by a rule or by people's labels."""

    def __init__(self, archive: Archive, store: ObjectStore, facility: Facility) -> None:
        self._archive = archive
        self._frames = FrameReader(archive, store, facility)
        self._facility = facility

    async def read(self, recipe: Recipe) -> History:
        """Return the normal shots that a recipe requests, and a sample of their frames."""
        all_expected = [expected for expected in self._facility.places if _asked_for(expected, recipe.places)]
        found = [(expected, await self._normal_shots(expected, recipe)) for expected in all_expected]
        places = [await self._place(expected, shots) for expected, shots in found if shots]
        cameras = [
            camera
            for _, shots in found
            for camera in await self._cameras(_sample(shots, recipe.frames_per_camera))
        ]
        return History(tuple(places), tuple(cameras))

    async def _normal_shots(self, expected: ExpectedDevices, recipe: Recipe) -> list[JudgedShot]:
        wanted = ShotFilter(area=expected.place)
        start = epoch_ms(recipe.start) if recipe.start else 0
        end = epoch_ms(recipe.end) if recipe.end else epoch_now()
        shots = await self._archive.shots.spread(wanted, SHOTS_PER_PLACE, start, end)
        labels = await self._archive.feedback.labels(shots)
        return [shot for shot in shots if _is_normal(shot, expected, labels.get(shot.id, UNLABELLED))]

    async def _place(self, expected: ExpectedDevices, shots: Sequence[JudgedShot]) -> PlaceHistory:
        times = np.array([shot.pulse for shot in shots], np.int64)
        batches = dict.fromkeys(shot.batch for shot in shots)
        measured = {batch: await self._archive.measurements.of_batch(batch) for batch in batches}
        return PlaceHistory(str(expected.place), times, _columns(shots, measured))

    async def _cameras(self, shots: Sequence[JudgedShot]) -> list[CameraHistory]:
        cameras = await self._frames.read(shots)
        return [CameraHistory(camera.device, camera.times, camera.frames) for camera in cameras]


def _asked_for(expected: ExpectedDevices, places: Sequence[str]) -> bool:
    return not places or str(expected.place) in places


def _is_normal(shot: JudgedShot, expected: ExpectedDevices, labels: ShotLabels) -> bool:
    return (
        shot.series.interval == expected.interval
        and shot.complete
        and not labels.confirmed
        and not RULE_KINDS.intersection(shot.verdict.kinds) - labels.false
    )


def _sample(shots: Sequence[JudgedShot], most: int) -> list[JudgedShot]:
    return [shots[n] for n in evenly(len(shots), most).tolist()] if shots else []


def _columns(
    shots: Sequence[JudgedShot], measured: Mapping[str, Mapping[str, Features]]
) -> dict[str, Features]:
    """Return features of shots as columns (n,), NaN where absent; `measured` is by batch and device."""
    columns: dict[str, dict[str, Values]] = defaultdict(dict)
    for batch, devices in measured.items():
        where = [n for n, shot in enumerate(shots) if shot.batch == batch]
        rows = [shots[n].index for n in where]
        for device, features in devices.items():
            for name, values in features.items():
                columns[device].setdefault(name, np.full(len(shots), np.nan))[where] = values[rows]
    return dict(columns)
