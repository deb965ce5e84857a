"""The record of one device in one shot: image, residual, spectrum, row."""

import asyncio
import csv
import io
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from numpy.typing import NDArray
from pydantic import Field

from shotwatch_common.store import ObjectTooLarge
from shotwatch_query.answers import Responses
from shotwatch_query.domain.columns import spreadsheet_cell
from shotwatch_query.domain.frames import (
    colour_png,
    grey_png,
    npy,
    pixels_csv,
    read_npy,
    residual_png,
    spectrum_csv,
)
from shotwatch_query.domain.plots import spectrum_png
from shotwatch_query.errors import NotFound
from shotwatch_query.members import find_member
from shotwatch_query.parameters import DeviceName, ShotId
from shotwatch_query.records import StoredRecord, find_record, values_of_record
from shotwatch_query.reservation import Room
from shotwatch_query.schema import Instant, Schema
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.identity import residual_key

router = APIRouter(prefix="/shots/{shot}/devices/{device}", tags=["records"])


class RecordDocument(Schema):
    """One record of a block, without its arrays."""

    shot: str
    device: str
    kind: DeviceKind
    time: Instant = Field(description="As recorded.")
    state: str | None
    readable: bool = Field(description="Whether the file held data for this record.")
    verdict: str
    block: str
    row: int
    values: Mapping[str, float | None] = Field(examples=[{"energy1": 1.02, "energy2": 0.99}])
    unit: str = Field(description="Unit of the values.", examples=["J"])
    arrays: Mapping[str, list[int]] = Field(
        description="Shapes of the record's arrays.", examples=[{"image": [102, 128]}]
    )


class ArrayDocument(Schema):
    """An array as JSON."""

    shot: str
    device: str
    unit: str
    shape: list[int]
    values: list[object] = Field(description="Row by row.")


class ArrayFormat(StrEnum):
    """The file formats of an array."""

    PNG = "png"
    NPY = "npy"
    CSV = "csv"
    JSON = "json"


class RowFormat(StrEnum):
    """The file formats of a row."""

    JSON = "json"
    CSV = "csv"


MEDIA_TYPES = {
    ArrayFormat.PNG: "image/png",
    ArrayFormat.NPY: "application/octet-stream",
    ArrayFormat.CSV: "text/csv",
    ArrayFormat.JSON: "application/json",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TEXT = {"schema": {"type": "string"}}
ARRAY_RESPONSES: Responses = {
    200: {
        "description": "The array in the format asked for; NPY comes as application/octet-stream.",
        "model": ArrayDocument,
        "content": {"image/png": _BINARY, "application/octet-stream": _BINARY, "text/csv": _TEXT},
    }
}
ROW_RESPONSES: Responses = {
    200: {
        "description": "The row in the format asked for.",
        "model": RecordDocument,
        "content": {"text/csv": _TEXT},
    }
}
_MOST_NPY_HEADER_BYTES = 4096
Format = Annotated[ArrayFormat, Query(alias="format", description="How the array is written.")]


@router.get("/image", summary="A camera's frame", response_class=Response, responses=ARRAY_RESPONSES)
async def get_image(
    sources: From,
    room: Room,
    shot: ShotId,
    device: DeviceName,
    form: Format = ArrayFormat.PNG,
    colour: Annotated[
        bool, Query(description="PNG: in false colours from darkest to brightest; else 16-bit counts.")
    ] = True,
) -> Response:
    """Return the frame that the camera recorded in this shot, in counts."""
    image = (await find_record(sources, room, shot, device)).array("image")
    unit = sources.facility.dataset(DeviceKind.CAMERA).unit
    if form is ArrayFormat.PNG:
        return _file(await asyncio.to_thread(colour_png if colour else grey_png, image), form)
    return await _array_response(image, form, shot, device, unit)


@router.get(
    "/residual",
    summary="What a model finds anomalous in a frame",
    response_class=Response,
    responses=ARRAY_RESPONSES,
)
async def get_residual(
    sources: From, room: Room, shot: ShotId, device: DeviceName, form: Format = ArrayFormat.PNG
) -> Response:
    """Return the normalised frame minus its reconstruction by the model; stored for shots with an anomaly."""
    pixels = values_of_record(sources, device)
    await room.values(pixels)
    await find_member(sources, shot, device)
    most = pixels * np.dtype(np.float32).itemsize + _MOST_NPY_HEADER_BYTES
    key = residual_key(shot, device)
    try:
        residual = read_npy(await sources.store.get(sources.settings.block_bucket, key, most))
    except (ObjectTooLarge, ValueError) as error:
        raise NotFound(f"the residual {key} cannot be read: {error}") from error
    if form is ArrayFormat.PNG:
        return _file(await asyncio.to_thread(residual_png, residual), form)
    return await _array_response(residual, form, shot, device, "")


@router.get(
    "/spectrum", summary="A spectrometer's spectrum", response_class=Response, responses=ARRAY_RESPONSES
)
async def get_spectrum(
    sources: From, room: Room, shot: ShotId, device: DeviceName, form: Format = ArrayFormat.PNG
) -> Response:
    """Return the spectrum that the spectrometer recorded in this shot, intensity over sample number."""
    record = await find_record(sources, room, shot, device)
    spectrum = record.array("spectrum")
    unit = sources.facility.dataset(DeviceKind.SPECTRO).unit
    if form is ArrayFormat.PNG:
        title = f"{device}   {record.time.isoformat(sep=' ', timespec='milliseconds')}"
        return _file(await asyncio.to_thread(spectrum_png, spectrum, title, unit), form)
    return await _array_response(spectrum, form, shot, device, unit)


@router.get("/row", summary="A record without its arrays", response_class=Response, responses=ROW_RESPONSES)
async def get_row(
    sources: From,
    room: Room,
    shot: ShotId,
    device: DeviceName,
    form: Annotated[RowFormat, Query(alias="format", description="How the row is written.")] = RowFormat.JSON,
) -> Response:
    """Return time, state and verdict of any device's record, and the energies of an energy meter.

    In CSV, text is quoted, with an apostrophe before text that a spreadsheet would interpret as a formula.
    Invisible characters are escaped. Numbers stay numbers.
    """
    row = _row(sources, await find_record(sources, room, shot, device))
    if form is RowFormat.JSON:
        return Response(row.model_dump_json(), media_type="application/json")
    return Response(_row_csv(row), media_type="text/csv")


def _file(data: bytes, form: ArrayFormat) -> Response:
    return Response(data, media_type=MEDIA_TYPES[form])


async def _array_response(
    array: NDArray[Any], form: ArrayFormat, shot: str, device: str, unit: str
) -> Response:
    """Return the array as NPY, CSV or JSON."""
    if form is ArrayFormat.NPY:
        return _file(npy(array), form)
    if form is ArrayFormat.CSV:
        return _file(await asyncio.to_thread(spectrum_csv if array.ndim == 1 else pixels_csv, array), form)
    document = ArrayDocument(
        shot=shot, device=device, unit=unit, shape=list(array.shape), values=array.tolist()
    )
    return _file(document.model_dump_json().encode(), form)


def _row(sources: ApiSources, record: StoredRecord) -> RecordDocument:
    member = record.member
    scalars = {name: float(array) for name, array in record.arrays.items() if not array.ndim}
    return RecordDocument(
        shot=record.shot,
        device=member.device,
        kind=member.kind,
        time=record.time,
        state=record.state,
        readable=record.readable,
        verdict=member.verdict,
        block=record.block_key,
        row=record.row,
        values={name: value if np.isfinite(value) else None for name, value in scalars.items()},
        unit=sources.facility.dataset(member.kind).unit if scalars else "",
        arrays={name: list(array.shape) for name, array in record.arrays.items() if array.ndim},
    )


def _row_csv(row: RecordDocument) -> str:
    columns = row.model_dump(mode="json", exclude={"values", "arrays"}) | dict(row.values)
    file = io.StringIO()
    # Quoted text stays one cell even if the spreadsheet's separator is not a comma: `a;=1+1`.
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows(map(spreadsheet_cell, line) for line in (columns, columns.values()))
    return file.getvalue()
