"""The records of a file: as ingest read them, and as validate judged them.

They consist of columns and references, never of pixels. Every column has one entry per record, in the order
of `times`.
"""

from typing import Annotated, Literal

from pydantic import Field

from shotwatch_shots.message import Message, StageMessage
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import DeviceKind

VALID = 0
"""The verdict of a valid record; any other verdict n stands for `reasons[n - 1]`."""
MOST_DETAILED_REASONS = 64
"""The number of different reasons of a device that keep their details in one file, or in one window."""
LONGEST_REASON = 300
"""In characters; a longer detail is truncated."""


class ObjectRef(Message):
    """One version of an object that arrived in the bucket."""

    object_id: str
    bucket: str
    key: str
    etag: str
    size: int
    arrived_at: int
    """When the store received it, epoch ms."""


class BlockRef(Message):
    """The location of a block, and the object it was made from."""

    bucket: str
    key: str
    object_id: str
    object_key: str


class ImageDigest(Message):
    """The data of each frame that validation needs. Entries of absent frames are 0."""

    role: Literal["image"] = "image"
    minimum: list[float]
    maximum: list[float]
    saturated: list[int]
    """Number of pixels at or above the facility's saturation level."""
    fingerprint: list[int]
    """CRC-32 of the frame's bytes: equal frames have equal fingerprints."""


class SpectrumDigest(Message):
    """The data of each spectrum that validation needs."""

    role: Literal["spectrum"] = "spectrum"
    minimum: list[float | None]
    maximum: list[float | None]
    total: list[float | None]


class EnergyDigest(Message):
    """Both energies of each record; null if not finite."""

    role: Literal["energy"] = "energy"
    energy1: list[float | None]
    energy2: list[float | None]


Digest = Annotated[ImageDigest | SpectrumDigest | EnergyDigest, Field(discriminator="role")]


class Problem(Message):
    """A record that could not be read as its device's data; `reason` is a RecordReason."""

    row: int
    reason: str
    detail: str


class DeviceRecords(Message):
    """The records of one device group in one file, as ingest read them."""

    device: str
    kind: DeviceKind
    series: ShotSeries
    block: BlockRef
    times: list[int]
    """Epoch ms, ascending, as recorded."""
    states: list[str]
    """The states that occur."""
    state: list[int]
    """Index into `states` for each record; -1 if the file has no state."""
    problems: list[Problem]
    digest: Digest | None
    """None for devices without data of their own (state only)."""


class FileIngested(StageMessage):
    """ingest → validate: a file was read, and its records are stored in blocks."""

    object: ObjectRef
    devices: list[DeviceRecords]

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)


class JudgedRecords(Message):
    """The records of one device group, with a verdict for each."""

    device: str
    kind: DeviceKind
    series: ShotSeries
    block: BlockRef
    times: list[int]
    states: list[str]
    state: list[int]
    reasons: list[str]
    """The reasons that occur, as `reason` or `reason: detail`."""
    verdict: list[int]
    """VALID, or 1 + the index in `reasons`."""


class FileValidated(StageMessage):
    """validate → aggregate: every record of a file has been judged."""

    object: ObjectRef
    devices: list[JudgedRecords]

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)


def reason_code(reasons: list[str], reason: str) -> int:
    """Return the verdict for this reason (`reason` or `reason: detail`), and add it to the list if it is new.

    Details come from files. The list stays short whatever they contain: it has at most MOST_DETAILED_REASONS
    entries, plus one for each RecordReason.
    """
    reason = reason[:LONGEST_REASON]
    if reason not in reasons and len(reasons) >= MOST_DETAILED_REASONS:
        reason = reason.partition(":")[0]
    if reason not in reasons:
        reasons.append(reason)
    return VALID + 1 + reasons.index(reason)
