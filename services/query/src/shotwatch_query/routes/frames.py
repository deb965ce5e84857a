"""The newest frames of a camera, one by one or combined."""

import asyncio
from enum import StrEnum
from math import prod
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import Field, FiniteFloat
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.past_frames import CameraFrames
from shotwatch_physics.spots import running_maximum
from shotwatch_query.answers import Responses, streamed
from shotwatch_query.devices import find_expected
from shotwatch_query.domain.frames import colour_png, frames_csv, frames_npz, frames_tiff, npy
from shotwatch_query.domain.pages import EARLIEST_MS
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.exports.contents import Arrays, ExportedFrames
from shotwatch_query.exports.process import HDF5, require_installed, written
from shotwatch_query.limits.memory import SHARE_BYTES
from shotwatch_query.parameters import DeviceName, Moment, Parameters
from shotwatch_query.reservation import Room
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.pulses import shot_id
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind

router = APIRouter(prefix="/devices/{device}", tags=["devices"])
MOST_SHOTS = 1000
_COPIES = 4


class FramesFormat(StrEnum):
    """The file formats of several frames."""

    NPZ = "npz"
    TIFF = "tiff"
    CSV = "csv"
    HDF5 = "hdf5"


class PictureFormat(StrEnum):
    """The file formats of a frame."""

    PNG = "png"
    NPY = "npy"


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_COUNTED = {"X-Frames": {"description": "Number of frames.", "schema": {"type": "integer"}}}
MAXIMUM_RESPONSES: Responses = {
    200: {
        "description": "The maximum in the format asked for; NPY comes as application/octet-stream.",
        "headers": _COUNTED,
        "content": {"image/png": _BINARY, "application/octet-stream": _BINARY},
    }
}
FRAMES_RESPONSES: Responses = {
    200: {
        "description": "NPZ and HDF5: `shots` (ids), `times` (of the pulses, UTC) and `frames` (n, h, w). "
        "TIFF: a page of counts for each frame. CSV: a line for each row of pixels.",
        "headers": _COUNTED,
        "content": {
            "application/octet-stream": _BINARY,
            "image/tiff": _BINARY,
            "text/csv": {"schema": {"type": "string"}},
            HDF5: _BINARY,
        },
    },
    501: {},
}


class NewestShots(Parameters):
    """The shots of the camera's place that are requested."""

    shots: int = Field(100, ge=1, le=MOST_SHOTS, description="So many shots, the newest ones.")
    start: Moment | SkipJsonSchema[None] = Field(
        None, alias="from", description="From this time on, at most a day before `to`."
    )
    kind: AnomalyKind | SkipJsonSchema[None] = Field(None, description="Shots with an anomaly of this kind.")
    min_score: FiniteFloat | SkipJsonSchema[None] = Field(
        None, description="Shots that were scored this high or higher."
    )
    end: Moment | SkipJsonSchema[None] = Field(
        None,
        alias="to",
        description="Before this time, within a day (RFC 3339 or epoch ms); the end of data when left out.",
        examples=["2022-07-01T08:00:00Z", 1656662400000],
    )


class FramesParameters(NewestShots):
    """The shots that are requested, and the format of their frames."""

    form: FramesFormat = Field(FramesFormat.NPZ, alias="format", description="Format of the file.")


class MaximumParameters(NewestShots):
    """The shots that are requested, and the format of their maximum."""

    form: PictureFormat = Field(
        PictureFormat.PNG,
        alias="format",
        description="PNG: false colours from darkest to brightest; NPY: counts.",
    )


@router.get(
    "/maximum", summary="Brightest count of each pixel", response_class=Response, responses=MAXIMUM_RESPONSES
)
async def get_maximum(
    sources: From, room: Room, device: DeviceName, asked: Annotated[MaximumParameters, Query()]
) -> Response:
    """Return the maximum of each pixel over the camera's valid frames of the newest shots.

    It shows hot spots that moved or appeared only once.
    """
    expected = find_expected(sources.facility, device, DeviceKind.CAMERA)
    await room.bytes(_frame_bytes(sources, device, asked))
    frames = await _newest_frames(sources, expected, device, asked)
    maximum = await asyncio.to_thread(running_maximum, frames.frames)
    if asked.form is PictureFormat.NPY:
        return _file(npy(maximum), "application/octet-stream", frames)
    return _file(await asyncio.to_thread(colour_png, maximum), "image/png", frames)


@router.get("/frames", summary="The newest frames", response_class=Response, responses=FRAMES_RESPONSES)
async def get_frames(
    sources: From, room: Room, device: DeviceName, asked: Annotated[FramesParameters, Query()]
) -> Response:
    """Return the camera's valid frames of the newest shots of a selection, in order of time, as one file."""
    expected = find_expected(sources.facility, device, DeviceKind.CAMERA)
    if asked.form is FramesFormat.HDF5:
        require_installed("frames")
    await room.bytes(_frame_bytes(sources, device, asked))
    frames = await _newest_frames(sources, expected, device, asked)
    shots = [shot_id(expected.series, time) for time in frames.times.tolist()]
    match asked.form:
        case FramesFormat.NPZ:
            data = await asyncio.to_thread(frames_npz, shots, frames.times, frames.frames)
            return _file(data, "application/octet-stream", frames)
        case FramesFormat.TIFF:
            return _file(await asyncio.to_thread(frames_tiff, shots, frames.frames), "image/tiff", frames)
        case FramesFormat.CSV:
            lines = streamed(frames_csv(shots, frames.frames), "text/csv")
            lines.headers["X-Frames"] = str(len(shots))
            return lines
        case FramesFormat.HDF5:
            unit = sources.facility.device_type(device).datasets[0].unit
            content = ExportedFrames(device=device, unit=unit, shots=shots)
            arrays: Arrays = {"frames": frames.frames, "times": frames.times}
            return _file(await written(sources.exporting, content, arrays), HDF5, frames)


async def _newest_frames(
    sources: ApiSources, expected: ExpectedDevices, device: str, asked: NewestShots
) -> CameraFrames:
    """Return the camera's valid frames of the newest shots.

    Raises:
        NotFound: there are none.
    """
    shots = await _newest_shots(sources, expected, asked)
    found = await sources.frames.read(shots, [device])
    if not found or not len(found[0].frames):
        raise NotFound(
            f"{device} has no valid frame in the newest {asked.shots} shots of the day before `to`"
        )
    return found[0]


async def _newest_shots(
    sources: ApiSources, expected: ExpectedDevices, asked: NewestShots
) -> list[JudgedShot]:
    """Return the requested shots of a place within a day, the newest first."""
    end = await sources.end_of_data() if asked.end is None else asked.end
    start = max(end - DAY_MS, EARLIEST_MS, EARLIEST_MS if asked.start is None else asked.start)
    wanted = ShotFilter(expected.place, expected.interval, asked.kind, asked.min_score)
    return await sources.archive.shots.page(wanted, start, end, asked.shots, True)


def _file(data: bytes, media_type: str, frames: CameraFrames) -> Response:
    return Response(data, media_type=media_type, headers={"X-Frames": str(len(frames.frames))})


def _frame_bytes(sources: ApiSources, device: str, asked: NewestShots) -> int:
    """Return the memory for frames while they are read, joined, sorted and written, in bytes.

    Raises:
        BadRequest: it is more than a caller may have; the message gives the largest number of shots.
    """
    pixels = prod(sources.facility.device_type(device).datasets[0].shape)
    of_shot = _COPIES * pixels * np.dtype(np.uint16).itemsize
    if of_shot * asked.shots > SHARE_BYTES:
        most = SHARE_BYTES // of_shot
        raise BadRequest(f"shots: the frames of {device} are large; ask for at most {most} at a time")
    return of_shot * asked.shots
