"""`pack`: recorded images as snapshot files, with labels beside them.

Cameras show the recorded frames, shifted by whole native pixels, binned, with a little energy jitter and
fresh photon and read noise, so that a repeated frame is another shot. A binned pixel is at the camera's limit
if one of its native pixels is saturated. The place's other devices are simulated, at the energy of the
recorded frame.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import Times, epoch_ms, shot_id
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator import devices, hdf5
from shotwatch_simulator.devices import SimulatedLaser
from shotwatch_simulator.files import Recorder, SnapshotFile, recorders, snapshot_files
from shotwatch_simulator.frames import Sensor, expose
from shotwatch_simulator.hdf5 import Array
from shotwatch_simulator.labels import Label, write_labels
from shotwatch_simulator.noise import Floats, normal, uniform, white
from shotwatch_simulator.recordings import Crop, Recording, change_of_regime, find_frame, load_recording

REGIME_CHANGE = "regime_change"

_ENERGY_RMS = 0.004
"""In addition to the energy jitter of the recorded frames themselves."""
_PEAK = 0.73
"""The brightest recorded pixel, as a share of the camera's limit."""
_LEARNING_SHARE = 0.4
"""Share of a recording for learning, if its regime is not known to change."""

_SENSOR = Sensor(limit=4092, background=16.0, read_noise=0.5, electrons_per_count=100.0)
"""Fresh noise. The background keeps the read noise of dark pixels from being cut off at 0 counts."""

PackedPart = Literal["train", "live"]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file that was written, and its purpose."""

    path: Path
    phase: PackedPart


@dataclass(frozen=True)
class Packing:
    """The recorded frame for each pulse."""

    facility: Facility
    recorders: tuple[Recorder, ...]
    """The devices of one place, at one interval."""
    recording: Recording
    start: datetime
    """UTC."""
    sequence: NDArray[np.int64]
    """The recorded frame of each pulse from the start on: (pulses,)."""
    learning: int = 0
    """The number of pulses, before the others, to learn from."""
    change: int | None = None
    """The first recorded frame of another regime."""
    seed: int = 0

    @property
    def pulses(self) -> Times:
        period = self.recorders[0].interval.period_ms
        first = -(-epoch_ms(self.start) // period)
        return (first + np.arange(len(self.sequence))) * period

    @cached_property
    def files(self) -> tuple[SnapshotFile, ...]:
        """The files to write, in the order in which a control system would close them."""
        period = timedelta(milliseconds=self.recorders[0].interval.period_ms)
        return snapshot_files(self.recorders, self.start, len(self.sequence) * period)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The change of regime, if there is one."""
        return () if self.change is None else (_change_label(self, self.change),)

    @property
    def laser(self) -> SimulatedLaser:
        """The simulated laser for the devices that were not recorded."""
        return SimulatedLaser(self.facility, self.seed)


def plan_recorded(
    images: Path | Sequence[Path],
    facility: Facility,
    expected: ExpectedDevices,
    start: datetime,
    learning: timedelta,
    *,
    repeat: int = 1,
    change_at: str | None = None,
    crop: Crop | None = None,
    seed: int = 0,
) -> Packing:
    """Return a packing: a time to learn from, then the images in their order, each shown `repeat` times.

    The time to learn from shows, in random order, the frames before the regime changes. It changes at the
    frame whose name contains `change_at`, otherwise where `change_of_regime` finds it, otherwise after the
    first 40 % of the frames.

    Raises:
        ValueError: see `load_recording` and `find_frame`; or the first frame is already of another regime.
    """
    recording = load_recording(images, _frame_shape(facility), crop=crop)
    change = _change(recording, change_at)
    known = math.ceil(_LEARNING_SHARE * len(recording.sources)) if change is None else change
    if not known:
        raise ValueError("no recorded frame is left to learn from")
    lessons = learning // timedelta(milliseconds=facility.interval(expected.interval).period_ms)
    learnt = np.random.default_rng(seed).integers(known, size=lessons)
    live = np.repeat(np.arange(len(recording.sources)), repeat)
    return Packing(
        facility=facility,
        recorders=recorders(facility, [expected]),
        recording=recording,
        start=start,
        sequence=np.concatenate([learnt, live]),
        learning=lessons,
        change=change,
        seed=seed,
    )


def pack(packing: Packing, folder: Path) -> Iterator[PackedFile]:
    """Write the labels, then file after file, and yield each file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder, packing.labels)
    first_live = packing.pulses[packing.learning]
    state = packing.facility.state.dataset
    for file in packing.files:
        path = folder / file.name
        stamps = devices.stamps(packing.laser, file.group, file.pulses)
        records = devices.in_batches(stamps, partial(_data, packing, file.group))
        hdf5.write_snapshot(path, file.group, state, records)
        yield PackedFile(path, "live" if file.pulses[-1] >= first_live else "train")


def _frame_shape(facility: Facility) -> tuple[int, int]:
    height, width = facility.dataset(DeviceKind.CAMERA).shape
    return height, width


def _change(recording: Recording, change_at: str | None) -> int | None:
    return change_of_regime(recording) if change_at is None else find_frame(recording, change_at)


def _data(packing: Packing, group: str, pulses: Times) -> dict[str, Array]:
    """Return the records of a device of the packed place: dataset name → (n, ...) array."""
    device = packing.laser.device(group)
    frames = packing.sequence[np.searchsorted(packing.pulses, pulses)]
    jitter = 1 + _ENERGY_RMS * normal(pulses, packing.seed, str(device.place), "energy")
    if device.kind is DeviceKind.CAMERA:
        return _image(packing, group, pulses, frames, jitter)
    nominal = packing.recording.total[packing.sequence[: packing.learning or None]].mean()
    energy = packing.recording.total[frames] / nominal * jitter
    return devices.measured(packing.laser, device, pulses, energy)


def _image(
    packing: Packing, group: str, pulses: Times, frames: NDArray[np.int64], jitter: Floats
) -> dict[str, Array]:
    recording = packing.recording
    dataset = packing.facility.device_type(group).datasets[0]
    sensor = replace(_SENSOR, limit=int(dataset.range[1]))
    shifts = (uniform(pulses, packing.seed, group, "shift") * recording.shifts).astype(int)
    shown = list(zip(frames.tolist(), shifts.tolist(), strict=True))
    light = np.stack([recording.light(*frame) for frame in shown])
    light *= (_PEAK * sensor.limit * jitter).astype(np.float32)[:, None, None]
    noise = white(pulses, recording.shape, packing.seed, group)
    counts = expose(light, sensor, noise)
    counts[np.stack([recording.saturated(*frame) for frame in shown])] = sensor.limit
    return {dataset.name: counts}


def _change_label(packing: Packing, change: int) -> Label:
    """Return a label for the shots from the change on; its severity is the relative change of intensity."""
    changed = packing.sequence >= change
    pulses = packing.pulses[changed]
    total = packing.recording.total
    cameras = {
        recorder.group
        for recorder in packing.recorders
        if packing.laser.device(recorder.group).kind is DeviceKind.CAMERA
    }
    recorder = packing.recorders[0]
    place = packing.laser.device(recorder.group).place
    series = ShotSeries(place=place, interval=recorder.interval.name)
    return Label(
        kind=REGIME_CHANGE,
        expected=AnomalyKind.PROFILE,
        severity=float(total[change:].mean() / total[:change].mean() - 1),
        shots=tuple(shot_id(series, pulse) for pulse in pulses.tolist()),
        devices=tuple(sorted(cameras)),
        files=tuple(
            file.name
            for file in packing.files
            if file.group in cameras and np.isin(file.pulses, pulses).any()
        ),
    )
