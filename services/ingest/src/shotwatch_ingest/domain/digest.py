"""The digest of each record's data, from which validation judges the record without reading pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from deflate import crc32
from numpy.typing import NDArray

from shotwatch_shots.records import Digest, EnergyDigest, ImageDigest, SpectrumDigest
from shotwatch_shots.vocabulary import DeviceKind

Array = NDArray[Any]


def digest_of(
    kind: DeviceKind, arrays: Mapping[str, Array], readable: NDArray[np.bool_], saturated_at: int
) -> Digest | None:
    """Return the digest of the columns of a block; None for devices without data of their own."""
    match kind:
        case DeviceKind.CAMERA:
            return _images(arrays["image"], readable, saturated_at)
        case DeviceKind.SPECTRO:
            return _spectra(arrays["spectrum"], readable)
        case DeviceKind.ENERGY_METER:
            return EnergyDigest(energy1=arrays["energy1"], energy2=arrays["energy2"])
        case DeviceKind.OTHER:
            return None


def _images(frames: Array, readable: NDArray[np.bool_], saturated_at: int) -> ImageDigest:
    minimum, maximum = np.empty((2, len(frames)), frames.dtype)
    saturated, fingerprint = np.zeros((2, len(frames)), np.int64)
    for row, frame in enumerate(frames):  # one frame after the other, each while it is in the cache
        minimum[row], maximum[row] = frame.min(), frame.max()
        if maximum[row] >= saturated_at:
            saturated[row] = np.count_nonzero(frame >= saturated_at)
        if readable[row]:
            fingerprint[row] = crc32(frame)
    return ImageDigest(minimum=minimum, maximum=maximum, saturated=saturated, fingerprint=fingerprint)


def _spectra(spectra: Array, readable: NDArray[np.bool_]) -> SpectrumDigest:
    with np.errstate(invalid="ignore"):  # inf - inf: the total becomes NaN, as documented
        total = spectra.sum(axis=1, dtype=np.float64)
    return SpectrumDigest(
        minimum=np.where(readable, spectra.min(axis=1), np.nan),
        maximum=np.where(readable, spectra.max(axis=1), np.nan),
        total=np.where(readable, total, np.nan),
    )
