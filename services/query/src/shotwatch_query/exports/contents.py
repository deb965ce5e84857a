"""What an exported file is made of: facts, and arrays by name."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shotwatch_shots.device_kinds import DeviceKind

Arrays = Mapping[str, NDArray[Any]]


class CannotBeMade(Exception):
    """No such file can be made of this content; the message gives the reason."""


class Content(BaseModel):
    """Facts about an exported file. The arrays travel beside it."""

    model_config = ConfigDict(frozen=True)


class ExportedFeature(Content):
    """A measured quantity; the unit is empty for pure numbers."""

    name: str
    value: float
    unit: str


class ExportedDevice(Content):
    """A device of an exported shot. The arrays of the n-th device are `n.image`, `n.energy1` and so on."""

    device: str
    kind: DeviceKind
    verdict: str
    time: datetime | None
    """As recorded; None without a record."""
    raw_object: str
    """Key of the object from which the record comes; empty without a record."""
    unit: str
    """Of the arrays."""
    wavelengths: tuple[float, float] | None
    """Wavelengths of a spectrum's first and last sample (nm), if known."""
    left_out: str
    """Why the file has none of its arrays; empty if it has them."""
    features: Sequence[ExportedFeature]


class ExportedShot(Content):
    """A shot as a NeXus file."""

    form: Literal["nexus"] = "nexus"
    facility: str
    shot: str
    place: str
    interval: str
    time: datetime
    revision: int
    score: float | None
    threshold: float | None
    kinds: Sequence[str]
    model: str
    trace_id: str
    energy_meter: str
    """The meter whose energy is the pulse's; empty if no valid record has one."""
    energy: float | None
    """J; None if there is none."""
    devices: Sequence[ExportedDevice]


class ExportedPulse(Content):
    """A pulse as an openPMD file, made of the arrays `image` (h, w) and `spectrum` (m,)."""

    form: Literal["pulse"] = "pulse"
    shot: str
    camera: str
    spectrometer: str
    energy_meter: str
    energy: float
    """J."""
    pixel_um: float
    """Width and height of a pixel in the plane of the beam, µm."""
    wavelengths: tuple[float, float]
    """Wavelengths of the spectrum's first and last sample, nm."""


class ExportedFrames(Content):
    """Frames of a camera as an HDF5 file: the arrays `frames` (n, h, w) and `times` (n,), epoch ms."""

    form: Literal["frames"] = "frames"
    device: str
    unit: str
    shots: Sequence[str]


AnyContent = ExportedShot | ExportedPulse | ExportedFrames
