"""References: computed from recent normal shots, and added to the calibration store."""

import asyncio
from collections.abc import Sequence
from functools import partial

from shotwatch_common.background import Items
from shotwatch_common.calibration_store import CalibrationStore, Period, store_constants
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.past_frames import CameraFrames, FrameReader
from shotwatch_common.process import ServiceContext
from shotwatch_history.settings import HistorySettings
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import make_reference
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import CalibrationKind

MOST_FRAMES = 200
FEWEST_FRAMES = 100
PERIOD_MS = HOUR_MS
"""Length of the data from whose normal shots a reference is computed, in ms."""
MAX_AGE_MS = DAY_MS
"""Maximum age of a reference relative to the newest data, in ms; an older one is replaced."""


class ReferenceRenewal:
    """The renewal of the references of cameras that have none, or an old one."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._context = context
        self._frames = FrameReader(context.archive, context.store, context.facility)
        self._calibration_store = CalibrationStore(
            context.archive, context.store, {CalibrationKind.NOISE: NoiseModel.from_npz}
        )
        self._cameras = Items(context.servers_answer, context.log)

    async def renew(self) -> None:
        """Compute the references that are due from the newest data.

        Two replicas that do this at the same time add two equal versions.
        """
        await self._calibration_store.poll()
        latest = {
            each.device: each
            for each in await self._context.archive.calibration_constants.latest()
            if each.kind is CalibrationKind.REFERENCE
        }
        latest_record = latest_record_ms(self._context.facility)
        for expected in self._context.facility.places:
            now = await self._context.archive.devices.newest(latest_record, expected.devices)
            if now is not None:
                cameras = cameras_of(expected, self._context.facility)
                due = [camera for camera in cameras if self._due(latest.get(camera), now)]
                await self._make(expected, due, now)

    def _due(self, latest: CalibrationConstants | None, now: int) -> bool:
        """Return whether there is no recent reference; one from the future is unusable."""
        oldest = now - MAX_AGE_MS
        return latest is None or not oldest <= latest.end <= latest_record_ms(self._context.facility)

    async def _make(self, expected: ExpectedDevices, cameras: Sequence[str], now: int) -> None:
        shots = await self._normal_shots(expected, now) if cameras else ()
        if len(shots) >= FEWEST_FRAMES:
            await self._cameras.each(cameras, partial(self._make_one, shots))

    async def _normal_shots(self, expected: ExpectedDevices, now: int) -> list[JudgedShot]:
        """Return complete shots without any anomaly, spread over the period."""
        wanted, start = ShotFilter(area=expected.place), now - PERIOD_MS
        shots = await self._context.archive.shots.spread(wanted, MOST_FRAMES, start, now + 1)
        return [shot for shot in shots if shot.complete and not shot.verdict.kinds]

    async def _make_one(self, shots: Sequence[JudgedShot], device: str) -> None:
        for camera in await self._frames.read(shots, [device]):
            if len(camera.times) >= FEWEST_FRAMES:
                await self._store_reference(camera)

    async def _store_reference(self, camera: CameraFrames) -> None:
        noise = self._calibration_store.newest(camera.device, CalibrationKind.NOISE)
        try:
            reference = await asyncio.to_thread(make_reference, camera.frames, noise)
        except ValueError as error:
            self._context.log.warning("no reference", device=camera.device, why=str(error))
            return
        period = Period(int(camera.times[0]), int(camera.times[-1]), len(camera.times))
        made = await store_constants(
            self._context.archive,
            self._context.store,
            self._context.settings.data_bucket,
            camera.device,
            CalibrationKind.REFERENCE,
            reference.to_npz(),
            period,
        )
        self._context.log.info("reference made", device=camera.device, version=made.version)


def cameras_of(expected: ExpectedDevices, facility: Facility) -> list[str]:
    devices = (facility.device(group) for group in expected.devices)
    return [device.group for device in devices if device is not None and device.kind is DeviceKind.CAMERA]
