"""References: computed from recent normal shots, and added to the calibration store."""

import asyncio
from collections.abc import Sequence
from functools import partial

from shotwatch_common.background import Items
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.past_frames import CameraFrames, FrameReader
from shotwatch_common.process import Edges
from shotwatch_common.shelf import Period, Shelf, shelve
from shotwatch_history.settings import HistorySettings
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import make_reference
from shotwatch_shots.calibration import Characterisation, CharacterisationKind
from shotwatch_shots.facility import Facility, PlaceRoster
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import DeviceKind

MOST_FRAMES = 200
FEWEST_FRAMES = 100
_HOUR_MS = 3_600_000
PERIOD_MS = _HOUR_MS
"""Length of the data from whose normal shots a reference is computed, in ms."""
MAX_AGE_MS = 24 * _HOUR_MS
"""Maximum age of a reference relative to the newest data, in ms; an older one is replaced."""


class ReferenceRenewal:
    """The renewal of the references of cameras that have none, or an old one."""

    def __init__(self, edges: Edges[HistorySettings]) -> None:
        self._edges = edges
        self._frames = FrameReader(edges.archive, edges.store)
        self._shelf = Shelf(edges.archive, edges.store, {CharacterisationKind.NOISE: NoiseModel.from_npz})
        self._cameras = Items(edges.servers_answer, edges.log)

    async def renew(self) -> None:
        """Compute the references that are due from the newest data.

        Two replicas that do this at the same time add two equal versions.
        """
        await self._shelf.look()
        latest = {
            each.device: each
            for each in await self._edges.archive.characterisations.latest()
            if each.kind is CharacterisationKind.REFERENCE
        }
        latest_record = latest_record_ms(self._edges.facility)
        for roster in self._edges.facility.places:
            now = await self._edges.archive.devices.newest(latest_record, roster.devices)
            if now is not None:
                cameras = cameras_of(roster, self._edges.facility)
                due = [camera for camera in cameras if self._due(latest.get(camera), now)]
                await self._make(roster, due, now)

    def _due(self, latest: Characterisation | None, now: int) -> bool:
        """Return whether there is no recent reference; one from the future is unusable."""
        oldest = now - MAX_AGE_MS
        return latest is None or not oldest <= latest.end <= latest_record_ms(self._edges.facility)

    async def _make(self, roster: PlaceRoster, cameras: Sequence[str], now: int) -> None:
        shots = await self._normal_shots(roster, now) if cameras else ()
        if len(shots) >= FEWEST_FRAMES:
            await self._cameras.each(cameras, partial(self._make_one, shots))

    async def _normal_shots(self, roster: PlaceRoster, now: int) -> list[JudgedShot]:
        """Return complete shots without any anomaly, spread over the period."""
        query = {"place": str(roster.place)}
        start = now - PERIOD_MS
        shots = await self._edges.archive.shots.spread(query, MOST_FRAMES, start, now + 1)
        return [shot for shot in shots if shot.complete and not shot.verdict.kinds]

    async def _make_one(self, shots: Sequence[JudgedShot], device: str) -> None:
        for camera in await self._frames.read(shots, [device]):
            if len(camera.times) >= FEWEST_FRAMES:
                await self._shelve_reference(camera)

    async def _shelve_reference(self, camera: CameraFrames) -> None:
        noise = self._shelf.newest(camera.device, CharacterisationKind.NOISE)
        try:
            reference = await asyncio.to_thread(make_reference, camera.frames, noise)
        except ValueError as error:
            self._edges.log.warning("no reference", device=camera.device, why=str(error))
            return
        period = Period(int(camera.times[0]), int(camera.times[-1]), len(camera.times))
        made = await shelve(
            self._edges.archive,
            self._edges.store,
            self._edges.settings.data_bucket,
            camera.device,
            CharacterisationKind.REFERENCE,
            reference.to_npz(),
            period,
        )
        self._edges.log.info("reference made", device=camera.device, version=made.version)


def cameras_of(roster: PlaceRoster, facility: Facility) -> list[str]:
    devices = (facility.device(group) for group in roster.devices)
    return [device.group for device in devices if device is not None and device.kind is DeviceKind.CAMERA]
