"""Series as columns of a file: JSON values, CSV, NPY."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.printable import printable
from shotwatch_common.pulses import instant
from shotwatch_query.domain.frames import npy

Times = NDArray[np.int64]
"""Epoch ms: (n,)."""
Column = NDArray[np.float64] | NDArray[np.bool_]
"""(n,)."""

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def instants(times: Times) -> list[datetime]:
    """Epoch ms as UTC datetimes."""
    return [instant(time) for time in times.tolist()]


def told(values: NDArray[np.float64]) -> list[float | None]:
    """Values in the seven digits that single precision has; None for what is no finite number."""
    return [float(f"{value:.7g}") if isfinite(value) else None for value in values.tolist()]


def spreadsheet_cell(value: object) -> object:
    """Return a CSV cell: an apostrophe before text that a spreadsheet would take for a formula.

    Numbers stay numbers. Tabs, carriage returns and line feeds are shown as escapes, so that no text begins
    with one. Source: OWASP, CSV Injection; also full-width signs and signs after blanks, which some programs
    take for the same.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def columns_csv(times: Times, columns: Mapping[str, Column]) -> bytes:
    """`time,…`: RFC 3339, then each column; what is no number is left empty, yes and no are 1 and 0."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", *columns])
    moments = np.datetime_as_string(_moments(times), unit="ms", timezone="UTC").tolist()
    writer.writerows(zip(moments, *map(_cells, columns.values()), strict=True))
    return file.getvalue().encode()


def columns_npy(times: Times, columns: Mapping[str, Column]) -> bytes:
    """A structured array with the fields `time` (datetime64[ms], UTC) and the names of the columns."""
    fields: list[tuple[str, Any]] = [("time", "<M8[ms]")]
    table = np.empty(len(times), fields + [(name, column.dtype) for name, column in columns.items()])
    table["time"] = _moments(times)
    for name, column in columns.items():
        table[name] = column
    return npy(table)


def _moments(times: Times) -> NDArray[np.datetime64]:
    return times.astype("<M8[ms]")


def _cells(column: Column) -> list[Any]:
    return column.astype(int).tolist() if column.dtype == np.bool_ else told(column.astype(np.float64))
