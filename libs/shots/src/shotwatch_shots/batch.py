"""Batches: shots of one place and window that were closed together. Columns have one entry per shot."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shotwatch_shots.columns import Columnar, Flags, Integers
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.message import StageMessage
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import shot_id
from shotwatch_shots.records import MOST_DEVICES, VALID, BlockRef

ABSENT = -1
"""The source of a member that is absent from a shot."""

Mask = NDArray[np.bool_]
"""A choice among the n shots of a batch, (n,)."""
Indices = NDArray[np.intp]
"""Indices of shots in their batch."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """The part of one device in one shot; block and row are None if it is missing."""

    device: str
    kind: DeviceKind
    verdict: str
    """`valid`, `missing`, or the reason of its refusal."""
    on: bool
    block: BlockRef | None
    row: int | None

    @property
    def valid(self) -> bool:
        return self.verdict == "valid"


class Member(Columnar):
    """The records of one device in a batch of shots."""

    device: str
    kind: DeviceKind
    blocks: list[BlockRef]
    source: Integers
    """Index into `blocks`, or ABSENT if the shot has no record of this device."""
    row: Integers
    """Row in the block; 0 if absent."""
    reasons: list[str]
    verdict: Integers
    """VALID, or 1 + the index in `reasons`; VALID if absent."""
    on: Flags
    """Whether the device's last known state is ON: a missing member of a device that is ON is an anomaly."""

    @property
    def present(self) -> Mask:
        """The shots that have a record of this device."""
        present: Mask = self.source != ABSENT
        return present

    @property
    def valid(self) -> Mask:
        """The shots that have a valid record of this device."""
        valid: Mask = self.present & (self.verdict == VALID)
        return valid

    def refused_for(self, reason: int) -> Mask:
        """Return the shots whose record was refused for `reasons[reason]`."""
        refused: Mask = self.present & (self.verdict == VALID + 1 + reason)
        return refused

    def by_block(self, chosen: Mask) -> list[tuple[BlockRef, Indices]]:
        """Return each block that holds records of the chosen shots, with these shots."""
        found = ((ref, np.flatnonzero(chosen & (self.source == n))) for n, ref in enumerate(self.blocks))
        return [(ref, shots) for ref, shots in found if len(shots)]

    def of_shot(self, shot: int) -> MemberRecord:
        """Return the device's part in one shot."""
        source, verdict, on = int(self.source[shot]), int(self.verdict[shot]), bool(self.on[shot])
        if source == ABSENT:
            return MemberRecord(self.device, self.kind, "missing", on, None, None)
        judged = "valid" if verdict == VALID else self.reasons[verdict - VALID - 1]
        return MemberRecord(self.device, self.kind, judged, on, self.blocks[source], int(self.row[shot]))


class ShotBatch(StageMessage, Columnar):
    """Shots of one place and window that are complete, or whose lateness is over; aggregate → features."""

    batch_id: str
    window_id: str
    series: ShotSeries
    pulses: Integers
    """Epoch ms of each shot's pulse."""
    revisions: Integers
    """Counts from 1; a shot whose members have changed is closed again with the next revision."""
    complete: Flags
    """Whether every kind of device of the place has a valid record."""
    members: list[Member] = Field(max_length=MOST_DEVICES)
    last_arrival: int
    """When the object that closed the batch arrived in the store, epoch ms."""

    @property
    def batch_size(self) -> int:
        return len(self.pulses)

    @property
    def shot_ids(self) -> list[str]:
        """The id of each shot."""
        return [shot_id(self.series, pulse) for pulse in self.pulses.tolist()]

    def members_of(self, kinds: Collection[DeviceKind]) -> list[Member]:
        """Return the members that are devices of these kinds."""
        return [member for member in self.members if member.kind in kinds]


@dataclass(frozen=True, slots=True)
class CompletedBatch:
    """A batch of which something is new that people query."""

    batch_id: str
    window: str
    at: int
    """When it was judged or measured in detail, epoch ms."""


class ShotsMeasured(StageMessage):
    """features → inference: the same shots, measured. The archive has their measurements, by batch."""

    shots: ShotBatch

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
