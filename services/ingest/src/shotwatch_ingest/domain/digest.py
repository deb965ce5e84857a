"""The digest of each record's data, from which validation judges the record without reading pixels."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
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
    fingerprints = np.array([zlib.crc32(frame) for frame in frames], np.int64)
    return ImageDigest(
        minimum=frames.min(axis=(1, 2)),
        maximum=frames.max(axis=(1, 2)),
        saturated=np.count_nonzero(frames >= saturated_at, axis=(1, 2)),
        fingerprint=np.where(readable, fingerprints, 0),
    )


def _spectra(spectra: Array, readable: NDArray[np.bool_]) -> SpectrumDigest:
    with np.errstate(invalid="ignore"):  # inf - inf: the total becomes NaN, as documented
        total = spectra.sum(axis=1, dtype=np.float64)
    return SpectrumDigest(
        minimum=np.where(readable, spectra.min(axis=1), np.nan),
        maximum=np.where(readable, spectra.max(axis=1), np.nan),
        total=np.where(readable, total, np.nan),
    )
