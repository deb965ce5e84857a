"""Series as columns of a file: JSON, CSV, NPY.

Text is produced in pieces, because as a whole it takes ten times the memory of the columns.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from shotwatch_common.printable import printable
from shotwatch_query.domain.frames import npy
from shotwatch_shots.pulses import instant

Times = NDArray[np.int64]
"""Epoch ms: (n,)."""
Column = NDArray[np.float64] | NDArray[np.bool_]
"""(n,)."""
PIECE = 8192
"""Number of values of a column that are written at a time."""

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def instants(times: Times) -> list[datetime]:
    """Return epoch ms as UTC datetimes."""
    return [instant(time) for time in times.tolist()]


def finite_or_none(values: NDArray[np.float64]) -> list[float | None]:
    """Return values with the seven digits of single precision; None for values that are not finite."""
    return [float(f"{value:.7g}") if isfinite(value) else None for value in values.tolist()]


def spreadsheet_cell(value: object) -> object:
    """Return a CSV cell, with an apostrophe before text that a spreadsheet would interpret as a formula.

    Numbers stay numbers. Tabs, carriage returns and line feeds are escaped, so that no text begins with one.
    Source: OWASP, CSV Injection; in addition, full-width characters and characters after blanks, which some
    programs interpret in the same way.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def json_pieces(value: object) -> Iterator[bytes]:
    """Yield JSON in pieces: a mapping or list that contains columns, PIECE values at a time.

    Columns are arrays (n,) of numbers, of bool, or of datetime64, which is written as RFC 3339 in UTC. Values
    that are not finite become null. Everything else is written as pydantic writes it.
    """
    match value:
        case np.ndarray():
            parts = (_json_values(piece) for piece in _pieces(value))
            yield from _enclosed(b"[]", ([part] for part in parts))
        case Mapping():
            members = (chain([to_json(name), b":"], json_pieces(each)) for name, each in value.items())
            yield from _enclosed(b"{}", members)
        case list():
            yield from _enclosed(b"[]", map(json_pieces, value))
        case _:
            yield to_json(value)


def columns_csv(times: Times, columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Yield CSV in pieces: `time` as RFC 3339, then each column.

    Values that are not finite are left empty; bool is written as 1 or 0.
    """
    yield _csv_lines([("time", *columns)])
    for start in range(0, len(times), PIECE):
        rows = slice(start, start + PIECE)
        moments = np.datetime_as_string(moments_of(times[rows]), unit="ms", timezone="UTC").tolist()
        yield _csv_lines(zip(moments, *(_cells(column[rows]) for column in columns.values()), strict=True))


def columns_npy(times: Times, columns: Mapping[str, Column]) -> bytes:
    """Return a structured array with the fields `time` (datetime64[ms], UTC) and the names of the columns."""
    fields: list[tuple[str, np.dtype[np.generic]]] = [("time", np.dtype("<M8[ms]"))]
    table = np.empty(len(times), fields + [(name, column.dtype) for name, column in columns.items()])
    table["time"] = moments_of(times)
    for name, column in columns.items():
        table[name] = column
    return npy(table)


def moments_of(times: Times) -> NDArray[np.datetime64]:
    """Return epoch ms as datetime64[ms]."""
    return times.astype("<M8[ms]")


def _cells(column: Column) -> Sequence[float | None]:
    return (
        column.astype(int).tolist() if column.dtype == np.bool_ else finite_or_none(column.astype(np.float64))
    )


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def _pieces(column: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    return (column[start : start + PIECE] for start in range(0, len(column), PIECE))


def _json_values(column: NDArray[np.generic]) -> bytes:
    """Return the values of a column as JSON, separated by commas."""
    if column.dtype.kind == "M":
        return to_json(instants(column.astype("<M8[ms]").astype(np.int64)))[1:-1]
    return to_json(
        column.tolist() if column.dtype == np.bool_ else finite_or_none(column.astype(np.float64))
    )[1:-1]


def _enclosed(brackets: bytes, members: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    yield brackets[:1]
    for n, member in enumerate(members):
        if n:
            yield b","
        yield from member
    yield brackets[1:]
