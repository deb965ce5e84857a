"""The records of one device group of one file, as columns in memory.

`blocks` writes and reads them as Arrow files. The processes that read files of unknown origin use only this
module: they do not load Arrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_DATA_BYTES = 64 << 20
"""Maximum size of the data in a block: a camera's minute at 10 Hz takes 16 MB, and 42 MB if each record is
doubled and the file has its longest margins. A service reads whole blocks, several at a time, and again for
each minute of shots: this limit bounds its memory."""
MAX_BLOCK_BYTES = MAX_DATA_BYTES + (8 << 20)
"""Maximum size of a block: its data, and for each record its time, state and readability."""


@dataclass(frozen=True, slots=True)
class Block:
    """The decoded records of one device group: n rows in every column."""

    device: str
    time: NDArray[np.int64]
    state: Sequence[str | None]
    readable: NDArray[np.bool_]
    arrays: dict[str, Array] = field(default_factory=dict)
    """Column name → (n, ...) array: `image`, `spectrum`, `energy1`, `energy2`."""
