"""Which features a device has: its kind decides which physics its block goes through."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.blocks import Block
from shotwatch_common.vocabulary import DeviceKind
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.feature import Features
from shotwatch_physics.spectrum import measure_spectra

MEASURED_KINDS = (DeviceKind.CAMERA, DeviceKind.SPECTRO, DeviceKind.ENERGY_METER)


def measure(kind: DeviceKind, block: Block, rows: NDArray[np.intp], saturated_at: int) -> Features:
    """The features of these rows of a block.

    Raises:
        ValueError: the block lacks the arrays of a device of this kind.
    """
    try:
        match kind:
            case DeviceKind.CAMERA:
                return measure_beams(_rows(block, "image", rows), saturated_at)
            case DeviceKind.SPECTRO:
                return measure_spectra(_rows(block, "spectrum", rows))
            case DeviceKind.ENERGY_METER:
                return measure_energies(_rows(block, "energy1", rows), _rows(block, "energy2", rows))
            case DeviceKind.OTHER:
                return {}
    except KeyError as error:
        raise ValueError(f"the block of {block.device} has no {error}, which a {kind} has") from error


def spread(features: Features, where: NDArray[np.intp], shots: int) -> Features:
    """Columns with one entry per shot: a feature's values at the shots `where`, NaN at the others."""
    columns = {}
    for name, values in features.items():
        columns[name] = np.full(shots, np.nan)
        columns[name][where] = values
    return columns


def _rows(block: Block, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
    array = block.arrays[name]
    whole = len(rows) == len(array) and bool((np.diff(rows) == 1).all())
    return array if whole else array[rows]
