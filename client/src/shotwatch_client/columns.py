"""Columns over time, as the server writes them in NumPy files."""

from collections.abc import Sequence

import pandas as pd

from shotwatch_client.arrays import read_npy
from shotwatch_client.errors import UnexpectedAnswer
from shotwatch_client.rest import Query, Rest, describe

_HEADER_BYTES = 4096
_BYTES_PER_VALUE = 8


def read_columns(rest: Rest, path: str, query: Query, names: Sequence[str], most_rows: int) -> pd.DataFrame:
    """Return columns by time (UTC).

    Args:
        rest: the API.
        path: the route.
        query: its parameters, without the format.
        names: the columns.
        most_rows: maximum number of rows; a larger answer is refused.

    Raises:
        UnexpectedAnswer: the answer is larger, or not such columns.
        ShotwatchError: the server does not answer, or refuses.
    """
    most_bytes = _HEADER_BYTES + most_rows * _BYTES_PER_VALUE * (1 + len(names))
    data = rest.get_bytes(path, most_bytes, **query, format="npy")
    try:
        columns = read_npy(data)
        times = pd.DatetimeIndex(columns["time"], name="time").tz_localize("UTC")
        return pd.DataFrame({name: columns[name].copy() for name in names}, index=times)
    except (ValueError, IndexError, TypeError) as error:
        asked = describe("GET", path, query)
        raise UnexpectedAnswer(asked, f"the columns are not readable: {error}") from error
