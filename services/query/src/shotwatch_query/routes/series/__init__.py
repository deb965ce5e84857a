"""Features of a device over time, and the smoothed energies of a meter."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import Field, FiniteFloat
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.archive.measurements import Series
from shotwatch_physics.energy_series import SmoothedEnergy, calibrate_light, drop_outs, smooth_energy
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.history import trend
from shotwatch_query.answers import Responses, streamed
from shotwatch_query.devices import find_expected, period_ms
from shotwatch_query.domain.columns import Column, Times, columns_csv, columns_npy, json_pieces, moments_of
from shotwatch_query.domain.pages import Span
from shotwatch_query.errors import BadRequest
from shotwatch_query.parameters import DeviceName, FeatureName, HourParameters, Parameters, require_short
from shotwatch_query.reservation import Room
from shotwatch_query.routes.series.schemas import (
    DropOutSpan,
    EnergyDocument,
    LightAgainstEnergy,
    MeterDisagreement,
    SeriesDocument,
)
from shotwatch_query.schema import DEVICE
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.features.catalogue import FEATURE_SPECS

router = APIRouter(prefix="/devices/{device}", tags=["devices"])
WIDEST_FILTER_SHOTS = 1200
"""Maximum standard deviation of the filter, in sampling periods: 2 min at 10 Hz."""


class ColumnFormat(StrEnum):
    """The file formats of columns."""

    JSON = "json"
    CSV = "csv"
    NPY = "npy"


_FILES = {
    "text/csv": {"schema": {"type": "string"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
_WRITTEN = "The columns in the format asked for; NPY is a structured array with the field `time` (UTC)."
SERIES_RESPONSES: Responses = {200: {"description": _WRITTEN, "model": SeriesDocument, "content": _FILES}}
ENERGY_RESPONSES: Responses = {
    200: {"description": f"{_WRITTEN} Only JSON holds more.", "model": EnergyDocument, "content": _FILES}
}


class _Written(Parameters):
    form: ColumnFormat = Field(ColumnFormat.JSON, alias="format", description="How the columns are written.")


class SeriesParameters(HourParameters, _Written):
    """The features and the span that are requested."""

    feature: list[FeatureName] = Field(min_length=1, description="Names of features; repeat for more.")


class EnergyParameters(HourParameters, _Written):
    """The energies that are requested, and how they are evaluated."""

    sigma_s: FiniteFloat = Field(
        30,
        gt=0,
        description="Standard deviation of the Gaussian filter in time, s; at most that of "
        f"{WIDEST_FILTER_SHOTS} shots.",
    )
    camera: str | SkipJsonSchema[None] = Field(
        None, description="Compare with the total intensity of this camera.", examples=[DEVICE]
    )


@router.get(
    "/series",
    summary="Features over time",
    response_class=Response,
    responses=SERIES_RESPONSES,
)
async def get_series(
    sources: From, room: Room, device: DeviceName, asked: Annotated[SeriesParameters, Query()]
) -> Response:
    """Return features of a device, shot by shot; without `from` and `to`, those of the last hour of data.

    A response has at most a million values: slightly more than a day of one feature at 10 Hz.
    """
    expected, names = find_expected(sources.facility, device), list(dict.fromkeys(asked.feature))
    span = asked.span(await sources.end_of_data())
    await room.values(require_short(span, period_ms(sources.facility, expected), len(names)))
    series = await sources.archive.measurements.series(device, names, span.start, span.end)
    if asked.form is not ColumnFormat.JSON:
        return await _file(asked.form, series.pulses, series.columns)
    return streamed(json_pieces(_series_document(device, series)), "application/json")


@router.get(
    "/energy",
    summary="Energies, smoothed",
    response_class=Response,
    responses=ENERGY_RESPONSES,
)
async def get_energy(
    sources: From, room: Room, device: DeviceName, asked: Annotated[EnergyParameters, Query()]
) -> Response:
    """Return the energies of a meter: without outliers, smoothed in time, with drift and drop-outs.

    The method is that of report RST-2.3. Minutes in which the meter measured nothing at all are left out.
    Without `from` and `to` the span is the last hour of data; it may have half a million shots at most.
    """
    period = period_ms(sources.facility, find_expected(sources.facility, device, DeviceKind.ENERGY_METER))
    span, measured = asked.span(await sources.end_of_data()), ("energy", "energy_disagreement")
    values = require_short(span, period, len(measured))
    _require_narrow(asked.sigma_s, period)
    await room.values(2 * values)
    series = await sources.archive.measurements.series(device, measured, span.start, span.end)
    smooth = await asyncio.to_thread(smooth_energy, series.pulses, series.columns["energy"], asked.sigma_s)
    if asked.form is not ColumnFormat.JSON:
        return await _file(asked.form, series.pulses, _energy_columns(series, smooth))
    light = None if asked.camera is None else await _light(sources, asked.camera, series, span)
    limit = sources.facility.energy_disagreement
    document = await asyncio.to_thread(_energy_document, device, asked, series, smooth, limit, light)
    return streamed(json_pieces(document), "application/json")


def _require_narrow(sigma_s: float, period: int) -> None:
    """Require that the filter is not wider than WIDEST_FILTER_SHOTS sampling periods (ms).

    Raises:
        BadRequest: it is wider.
    """
    widest_s = WIDEST_FILTER_SHOTS * period / 1000
    if sigma_s > widest_s:
        raise BadRequest(
            f"sigma_s: a meter that records every {period} ms is smoothed by at most {widest_s:g} s"
        )


async def _file(form: ColumnFormat, times: Times, columns: Mapping[str, Column]) -> Response:
    if form is ColumnFormat.CSV:
        return streamed(columns_csv(times, columns), "text/csv")
    table = await asyncio.to_thread(columns_npy, times, columns)
    return Response(table, media_type="application/octet-stream")


def _energy_columns(series: Series, smooth: SmoothedEnergy) -> dict[str, Column]:
    return {"energy": series.columns["energy"], "smoothed": smooth.smoothed, "outlier": smooth.outlier}


def _series_document(device: str, series: Series) -> dict[str, object]:
    """Return a SeriesDocument with its columns as arrays."""
    return {
        "device": device,
        "times": moments_of(series.pulses),
        "columns": [
            {"name": name, "unit": FEATURE_SPECS[name].unit, "values": values}
            for name, values in series.columns.items()
        ],
    }


async def _light(sources: ApiSources, camera: str, energies: Series, span: Span) -> LightAgainstEnergy:
    """Return the comparison of a camera's total intensity with the energies.

    Raises:
        NotFound: the facility has no such camera.
    """
    find_expected(sources.facility, camera, DeviceKind.CAMERA)
    light = await sources.archive.measurements.series(camera, ["total_intensity"], span.start, span.end)
    return await asyncio.to_thread(_light_against_energy, camera, energies, light)


def _energy_document(
    device: str,
    asked: EnergyParameters,
    series: Series,
    smooth: SmoothedEnergy,
    limit: float,
    light: LightAgainstEnergy | None,
) -> dict[str, object]:
    """Return an EnergyDocument with its columns as arrays."""
    energy = series.columns["energy"]
    return {
        "device": device,
        "unit": FEATURE_SPECS["energy"].unit,
        "sigma_s": asked.sigma_s,
        "times": moments_of(series.pulses),
        **_energy_columns(series, smooth),
        "drift": trend(series.pulses, energy),
        "drop_outs": list(map(DropOutSpan.model_validate, drop_outs(series.pulses, energy))),
        "disagreement": _disagreement(series.columns["energy_disagreement"], limit),
        "light": light,
    }


def _disagreement(values: FloatArray, limit: float) -> MeterDisagreement:
    known = values[np.isfinite(values)]
    return MeterDisagreement(
        shots=len(known),
        median=float(np.median(known)) if len(known) else None,
        largest=float(known.max()) if len(known) else None,
        limit=limit,
        above_limit=int((known > limit).sum()),
    )


def _light_against_energy(camera: str, energies: Series, light: Series) -> LightAgainstEnergy:
    _, of_energy, of_light = np.intersect1d(energies.pulses, light.pulses, True, True)
    calibration = calibrate_light(
        energies.columns["energy"][of_energy], light.columns["total_intensity"][of_light]
    )
    return LightAgainstEnergy(camera=camera, **asdict(calibration))
