"""The kinds of devices: the data of their records, what validate needs of these, and what is measured.

`DEVICE_KINDS` has one entry for each kind. How data of a kind are judged, measured and simulated is code of
validate, features and the simulator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from deflate import crc32
from numpy.typing import NDArray

from shotwatch_shots.columns import Columnar, Integers, Numbers
from shotwatch_shots.features.beam import BEAM_FEATURES, POINTING_FEATURES
from shotwatch_shots.features.detailed import DETAILED_FEATURES
from shotwatch_shots.features.energy import ENERGY_FEATURES
from shotwatch_shots.features.scores import SCORES
from shotwatch_shots.features.spec import FeatureSpec
from shotwatch_shots.features.spectrum import SPECTRUM_FEATURES

Data = Mapping[str, NDArray[Any]]
"""Column of a block → its rows (n, ...)."""
Readable = NDArray[np.bool_]
"""(n,) the records whose data could be read."""


class DeviceKind(StrEnum):
    """The kind of a device, which the facility file derives from its group name."""

    CAMERA = "Camera"
    SPECTRO = "Spectro"
    ENERGY_METER = "EnergyMeter"
    OTHER = "Other"


class ImageDigest(Columnar):
    """The data of each frame that validation needs; 0 where it could not be read."""

    role: Literal["image"] = "image"
    minimum: Numbers
    maximum: Numbers
    saturated: Integers
    """Number of pixels at or above the facility's saturation level."""
    fingerprint: Integers
    """CRC-32 of the frame's bytes (uint16, little-endian, row by row): equal for equal frames."""

    @classmethod
    def of(cls, data: Data, readable: Readable, saturated_at: int) -> Self:
        """Return the digest of frames; a pixel at or above `saturated_at` counts is saturated."""
        frames = data["image"]
        minimum, maximum = np.empty((2, len(frames)), frames.dtype)
        saturated, fingerprint = np.zeros((2, len(frames)), np.int64)
        for row, frame in enumerate(frames):  # one frame after the other, each while it is in the cache
            minimum[row], maximum[row] = frame.min(), frame.max()
            if maximum[row] >= saturated_at:
                saturated[row] = np.count_nonzero(frame >= saturated_at)
            if readable[row]:
                fingerprint[row] = crc32(frame)
        return cls(minimum=minimum, maximum=maximum, saturated=saturated, fingerprint=fingerprint)


class SpectrumDigest(Columnar):
    """The data of each spectrum that validation needs.

    NaN where a value of the spectrum is not finite, or if it could not be read.
    """

    role: Literal["spectrum"] = "spectrum"
    minimum: Numbers
    maximum: Numbers
    total: Numbers

    @classmethod
    def of(cls, data: Data, readable: Readable, _saturated_at: int) -> Self:
        """Return the digest of spectra."""
        spectra = data["spectrum"]
        with np.errstate(invalid="ignore"):  # inf - inf: the total becomes NaN, as documented
            total = spectra.sum(axis=1, dtype=np.float64)
        return cls(
            minimum=np.where(readable, spectra.min(axis=1), np.nan),
            maximum=np.where(readable, spectra.max(axis=1), np.nan),
            total=np.where(readable, total, np.nan),
        )


class EnergyDigest(Columnar):
    """Both energies of each record; NaN where there is none."""

    role: Literal["energy"] = "energy"
    energy1: Numbers
    energy2: Numbers

    @classmethod
    def of(cls, data: Data, _readable: Readable, _saturated_at: int) -> Self:
        """Return the digest of energies."""
        return cls(energy1=data["energy1"], energy2=data["energy2"])


Digest = ImageDigest | SpectrumDigest | EnergyDigest


@dataclass(frozen=True, slots=True)
class DeviceKindSpec:
    """A kind of device: the data of its records, and what is measured of them."""

    columns: Mapping[str, np.dtype[np.generic]]
    """The columns of a device's block, in the order of its datasets in the facility file.

    Empty for devices of which only the state is recorded.
    """
    digest: type[Digest] | None = None
    measured: tuple[FeatureSpec, ...] = ()
    scores: tuple[FeatureSpec, ...] = ()
    """What a model measures, once there is one."""

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """What is measured of a device, and how a model scores it."""
        return self.measured + self.scores


DEVICE_KINDS: Mapping[DeviceKind, DeviceKindSpec] = MappingProxyType(
    {
        DeviceKind.CAMERA: DeviceKindSpec(
            columns={"image": np.dtype(np.uint16)},
            digest=ImageDigest,
            measured=BEAM_FEATURES + POINTING_FEATURES + DETAILED_FEATURES,
            scores=SCORES,
        ),
        DeviceKind.SPECTRO: DeviceKindSpec(
            columns={"spectrum": np.dtype(np.float32)},
            digest=SpectrumDigest,
            measured=SPECTRUM_FEATURES,
        ),
        DeviceKind.ENERGY_METER: DeviceKindSpec(
            columns={"energy1": np.dtype(np.float64), "energy2": np.dtype(np.float64)},
            digest=EnergyDigest,
            measured=ENERGY_FEATURES,
        ),
        DeviceKind.OTHER: DeviceKindSpec(columns={}),
    }
)
DATA_KINDS = tuple(kind for kind in DeviceKind if DEVICE_KINDS[kind].columns)
"""The kinds with data besides the state.

They are measured, and a complete shot has a valid record of each of them that its place has.
"""
