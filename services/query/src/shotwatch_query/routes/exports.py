"""A shot as a file for other tools: NeXus for catalogues and viewers, openPMD for simulations."""

from collections.abc import Sequence
from math import prod
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_query.access.guard import Known
from shotwatch_query.answers import Responses
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.exports.gathering import PulseMembers, gather_pulse, gather_shot
from shotwatch_query.exports.process import HDF5, require_installed, written
from shotwatch_query.headers import attachment
from shotwatch_query.limits.memory import SHARE_BYTES
from shotwatch_query.members import find_shot, members_of
from shotwatch_query.parameters import Parameters, ShotId
from shotwatch_query.reservation import Room
from shotwatch_query.schema import DEVICE
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.batch import MemberRecord
from shotwatch_shots.device_kinds import DEVICE_KINDS, DeviceKind

router = APIRouter(prefix="/shots/{shot}", tags=["exports"])
_COPIES = 6
"""The arrays as read, as sent to the process that writes the file, there, and as the file."""
EXPORT_RESPONSES: Responses = {
    200: {
        "description": "The file.",
        "content": {HDF5: {"schema": {"type": "string", "format": "binary"}}},
    },
    501: {},
}
_Name = Annotated[str, Field(max_length=500)] | SkipJsonSchema[None]
Wavelength = Annotated[float, Field(ge=100, le=20_000)] | SkipJsonSchema[None]


class NexusParameters(Parameters):
    """The devices that are requested."""

    device: list[str] = Field(
        [],
        max_length=100,
        description="Only these devices; all of the shot when left out.",
        examples=[[DEVICE]],
    )


class PulseParameters(Parameters):
    """The devices of which a pulse is made, and the facts that no record has."""

    pixel_um: Annotated[float, Field(gt=0, le=1e5)] = Field(
        description="Width and height of a pixel in the plane of the beam, in µm.", examples=[50]
    )
    first_nm: Wavelength = Field(
        None, description="Wavelength of the spectrum's first sample; by default the facility file's."
    )
    last_nm: Wavelength = Field(None, description="Wavelength of its last sample.")
    camera: _Name = Field(None, description="By default the first camera with a valid record.")
    spectrometer: _Name = Field(None, description="By default the first one with a valid record.")
    meter: _Name = Field(None, description="Energy meter; by default the first one with a valid record.")


@router.get("/nexus", summary="A shot as a NeXus file", response_class=Response, responses=EXPORT_RESPONSES)
async def get_nexus(
    sources: From, room: Room, caller: Known, shot: ShotId, asked: Annotated[NexusParameters, Query()]
) -> Response:
    """Return an NXentry with the beam's pulse energy (NXbeam), frames and spectra (NXdata), and features.

    A record that cannot be read is left out; the attribute `left_out` of its device gives the reason.
    """
    require_installed("nexus")
    async with sources.limits.searches.turn_of(caller.name):
        found = await find_shot(sources, shot)
        members = _chosen(await members_of(sources, found), asked.device, shot)
        size = sum(_bytes_of(sources, member) for member in members)
        if size > SHARE_BYTES:
            raise BadRequest("device: these devices have too many pixels for one file: name fewer of them")
        await room.bytes(size)
        content, arrays = await gather_shot(sources, found, members)
        data = await written(sources.exporting, content, arrays)
    return _file(data, f"{shot}.nxs")


@router.get(
    "/lasy", summary="A shot as a pulse for simulations", response_class=Response, responses=EXPORT_RESPONSES
)
async def get_pulse(
    sources: From, room: Room, caller: Known, shot: ShotId, asked: Annotated[PulseParameters, Query()]
) -> Response:
    """Return an openPMD file (HDF5), written by LASY, with the near field, the spectrum and the energy.

    No phase was measured, so it is flat: the beam is collimated, and the pulse is the shortest one that the
    spectrum allows.
    """
    require_installed("pulse")
    async with sources.limits.searches.turn_of(caller.name):
        found = await find_shot(sources, shot)
        members = _pulse_members(await members_of(sources, found), asked, shot)
        wavelengths = _wavelengths(sources, members.spectrometer.device, asked)
        await room.bytes(SHARE_BYTES)
        content, arrays = await gather_pulse(sources, shot, members, asked.pixel_um, wavelengths)
        data = await written(sources.exporting, content, arrays)
    return _file(data, f"{shot}.h5")


def _chosen(members: Sequence[MemberRecord], names: Sequence[str], shot: str) -> Sequence[MemberRecord]:
    known = {member.device: member for member in members}
    for name in names:
        if name not in known:
            raise NotFound(f"no device {name} belongs to shot {shot}")
    return [known[name] for name in dict.fromkeys(names)] or members


def _pulse_members(members: Sequence[MemberRecord], asked: PulseParameters, shot: str) -> PulseMembers:
    def find(kind: DeviceKind, named: str | None) -> MemberRecord:
        for member in members:
            if member.kind is kind and member.valid and named in (None, member.device):
                return member
        raise NotFound(f"shot {shot} has no valid record of {named or f'any {kind}'}")

    return PulseMembers(
        find(DeviceKind.CAMERA, asked.camera),
        find(DeviceKind.SPECTRO, asked.spectrometer),
        find(DeviceKind.ENERGY_METER, asked.meter),
    )


def _wavelengths(sources: ApiSources, spectrometer: str, asked: PulseParameters) -> tuple[float, float]:
    """Return the wavelengths of the first and the last sample, in nm."""
    known = sources.facility.device_type(spectrometer).datasets[0].wavelengths
    if asked.first_nm is None and asked.last_nm is None and known is not None:
        return known
    if asked.first_nm is None or asked.last_nm is None:
        raise BadRequest(
            f"first_nm, last_nm: give both: the facility file has no wavelengths of {spectrometer}"
        )
    if abs(asked.last_nm - asked.first_nm) < 1:
        raise BadRequest("first_nm, last_nm: a spectrum has at least 1 nm")
    return asked.first_nm, asked.last_nm


def _bytes_of(sources: ApiSources, member: MemberRecord) -> int:
    """Return the memory for a record of a device while the file is made, in bytes."""
    kinds = DEVICE_KINDS[member.kind].columns
    datasets = sources.facility.device_type(member.device).datasets
    sizes = zip(datasets, kinds.values(), strict=False)
    return _COPIES * sum(prod(dataset.shape) * dtype.itemsize for dataset, dtype in sizes)


def _file(data: bytes, name: str) -> Response:
    return Response(data, media_type=HDF5, headers=attachment(name))
