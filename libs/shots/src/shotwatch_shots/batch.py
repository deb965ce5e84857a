"""Batches: shots of one place and window that were closed together. Columns have one entry per shot."""

from shotwatch_shots.message import Message, StageMessage
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef
from shotwatch_shots.vocabulary import DeviceKind

ABSENT = -1
"""The source of a member that is absent from a shot."""


class Member(Message):
    """The records of one device in a batch of shots; columns have one entry per shot."""

    device: str
    kind: DeviceKind
    blocks: list[BlockRef]
    source: list[int]
    """Index into `blocks`, or ABSENT if the shot has no record of this device."""
    row: list[int]
    """Row in the block; 0 if absent."""
    reasons: list[str]
    verdict: list[int]
    """VALID, or 1 + the index in `reasons`; VALID if absent."""
    on: list[bool]
    """Whether the device's last known state is ON: a missing member of a device that is ON is an anomaly."""


class ShotsClosed(StageMessage):
    """aggregate → features: shots of one place and window that are complete or whose lateness is over."""

    batch_id: str
    window_id: str
    series: ShotSeries
    pulses: list[int]
    """Epoch ms of each shot's pulse."""
    revisions: list[int]
    """Counts from 1; a shot whose members have changed is closed again with the next revision."""
    complete: list[bool]
    """Whether every kind of device of the place has a valid record."""
    members: list[Member]
    last_arrival: int
    """When the object that closed the batch arrived in the store, epoch ms."""

    @property
    def batch_size(self) -> int:
        return len(self.pulses)


class ShotsMeasured(StageMessage):
    """features → inference: the same shots, measured. The archive has their measurements, by batch."""

    shots: ShotsClosed

    @property
    def batch_size(self) -> int:
        return self.shots.batch_size


class ShotsFlagged(StageMessage):
    """inference → features: anomalous shots of a batch, to be measured in detail."""

    batch_id: str
    shots: list[int]
    """Indices into the batch's columns."""

    @property
    def batch_size(self) -> int:
        return len(self.shots)
