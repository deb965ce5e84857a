"""The content of exported files, gathered from the database and from blocks."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.archive.measurements import of_shot
from shotwatch_common.printable import printable
from shotwatch_physics.background import STEP, survey
from shotwatch_physics.energy import measure_energies
from shotwatch_query.domain.frames import Frame
from shotwatch_query.errors import NotFound
from shotwatch_query.exports.contents import (
    Arrays,
    ExportedDevice,
    ExportedFeature,
    ExportedPulse,
    ExportedShot,
)
from shotwatch_query.records import StoredRecord, read_record
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import MemberRecord
from shotwatch_shots.device_kinds import DEVICE_KINDS, DeviceKind
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.pulses import instant
from shotwatch_shots.shot import JudgedShot

NOISE_SIGMAS = 3.0
"""Light that is no further above the background than this is noise."""


@dataclass(frozen=True, slots=True)
class PulseMembers:
    """The members of a shot of which a pulse is made."""

    camera: MemberRecord
    spectrometer: MemberRecord
    meter: MemberRecord


async def gather_shot(
    sources: ApiSources, shot: JudgedShot, members: Sequence[MemberRecord]
) -> tuple[ExportedShot, Arrays]:
    """Return a shot with the records of these members; a record that cannot be read is left out."""
    measured = of_shot(await sources.archive.measurements.of_batch(shot.batch), shot.index)
    devices: list[ExportedDevice] = []
    arrays: dict[str, NDArray[Any]] = {}
    energies: dict[str, float] = {}
    for number, member in enumerate(members):
        record, left_out = await _record_of(sources, shot, member)
        devices.append(_device(sources, member, record, left_out, measured.get(member.device, {})))
        if record is not None:
            arrays |= {f"{number}.{name}": array for name, array in record.arrays.items()}
            if member.kind is DeviceKind.ENERGY_METER and member.valid:
                energies[member.device] = _energy(record)
    meter, energy = next(((m, e) for m, e in energies.items() if np.isfinite(e)), ("", None))
    content = ExportedShot(
        facility=sources.facility.name,
        shot=shot.id,
        place=str(shot.series.place),
        interval=shot.series.interval,
        time=instant(shot.pulse),
        revision=shot.revision,
        score=shot.verdict.score,
        threshold=shot.verdict.threshold,
        kinds=[str(kind) for kind in shot.verdict.kinds],
        model=f"{shot.model.name} {shot.model.version}" if shot.model else "",
        trace_id=shot.trace_id,
        energy_meter=meter,
        energy=energy,
        devices=devices,
    )
    return content, arrays


async def gather_pulse(
    sources: ApiSources, shot: str, members: PulseMembers, pixel_um: float, wavelengths: tuple[float, float]
) -> tuple[ExportedPulse, Arrays]:
    """Return a pulse, with the camera's light above its background and the spectrum.

    Raises:
        NotFound: a record cannot be read, or the meter measured no energy.
    """
    image = (await read_record(sources, shot, members.camera)).array("image")
    spectrum = (await read_record(sources, shot, members.spectrometer)).array("spectrum")
    energy = _energy(await read_record(sources, shot, members.meter))
    if not np.isfinite(energy):
        raise NotFound(f"{members.meter.device} measured no energy in shot {shot}")
    content = ExportedPulse(
        shot=shot,
        camera=members.camera.device,
        spectrometer=members.spectrometer.device,
        energy_meter=members.meter.device,
        energy=energy,
        pixel_um=pixel_um,
        wavelengths=wavelengths,
    )
    return content, {"image": await asyncio.to_thread(light_of, image), "spectrum": spectrum}


def light_of(image: Frame) -> NDArray[np.float32]:
    """Return the light (h, w) of a frame above its background, without hot pixels; noise is 0."""
    surveyed = survey(image[None])
    light = surveyed.cleaned[0] - surveyed.background.plane(*image.shape)[0]
    noise = max(float(surveyed.background.noise[0]), STEP)
    return np.where(light > NOISE_SIGMAS * noise, light, 0).astype(np.float32)


async def _record_of(
    sources: ApiSources, shot: JudgedShot, member: MemberRecord
) -> tuple[StoredRecord | None, str]:
    """Return the record of a member; None and the reason if it has none that can be read."""
    if not DEVICE_KINDS[member.kind].columns:
        return None, "only the state of such a device is recorded"
    try:
        record = await read_record(sources, shot.id, member)
    except NotFound as error:
        return None, str(error)
    return (record, "") if record.readable else (None, f"it could not be read: {member.verdict}")


def _device(
    sources: ApiSources,
    member: MemberRecord,
    record: StoredRecord | None,
    left_out: str,
    measured: Mapping[str, float],
) -> ExportedDevice:
    datasets = sources.facility.device_type(member.device).datasets
    return ExportedDevice(
        device=printable(member.device),
        kind=member.kind,
        verdict=printable(member.verdict),
        time=record and record.time,
        raw_object=printable(member.block.object_key) if member.block else "",
        unit=datasets[0].unit if datasets else "",
        wavelengths=datasets[0].wavelengths if datasets else None,
        left_out=printable(left_out),
        features=[
            ExportedFeature(name=name, value=value, unit=FEATURE_SPECS[name].unit)
            for name, value in measured.items()
            if name in FEATURE_SPECS
        ],
    )


def _energy(record: StoredRecord) -> float:
    """Return the energy that a meter measured, in J; NaN if none is positive."""
    first, second = (np.atleast_1d(record.array(name)).astype(np.float64) for name in ("energy1", "energy2"))
    return float(measure_energies(first, second)["energy"][0])
