"""The examples of a training set: from a query and batches of shots to rows of blocks.

The report's training set holds triplets: the image, the spectrum and the energy of a shot. A place may have
several devices of a kind. Here an example is one frame of one camera, with the spectrum and the energy of the
same shot. These are taken from the first spectrometer and the first energy meter, by name, that have a valid
record. A shot at a place with ten cameras is ten examples.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.batch import Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.place import NO_LEVEL
from shotwatch_shots.pulses import instant
from shotwatch_shots.records import BlockRef
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.domain.manifest import Group, MemberColumn, Record, ShotQuery
from shotwatch_training.domain.split import evenly


@dataclass(frozen=True, slots=True)
class ChosenShot:
    """A shot that matches a query, and its index in its batch."""

    id: str
    revision: int
    kinds: tuple[AnomalyKind, ...]
    batch: str
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Triplet:
    """A triplet, with the names that the facility's report gives to its parts.

    `front`, `amp` and `arm` are the first three levels of the place; NO_LEVEL where it has fewer.
    """

    image: NDArray[np.uint16]
    energymeter: np.float32
    spectra: NDArray[np.float32]
    amp: str
    arm: str
    front: str
    timestamp: int
    interval: str
    date: str


def matches(shot: JudgedShot, query: ShotQuery) -> bool:
    """Return whether a shot matches the query's completeness and anomalies."""
    kinds = shot.verdict.kinds
    return (
        (shot.complete or query.incomplete)
        and (not query.include or not set(query.include).isdisjoint(kinds))
        and set(query.exclude).isdisjoint(kinds)
    )


def sampled(shots: Sequence[ChosenShot], most: int | None) -> list[ChosenShot]:
    """Return `most` shots at most, evenly spread over all."""
    if most is None or not shots:
        return list(shots)
    return [shots[n] for n in evenly(len(shots), most).tolist()]


def groups_of(batch: ShotBatch, shots: Sequence[ChosenShot]) -> list[Group]:
    """Return the examples of these shots of a batch by camera; a camera without a valid frame has none."""
    cameras = _members(batch, DeviceKind.CAMERA)
    return [group for camera in cameras if (group := _group(batch, camera, shots)).shots]


def without(group: Group, expired: Collection[BlockRef]) -> Group:
    """Return the group without the examples that need one of these blocks."""
    columns = (group.image.records, group.spectrum.records, group.energy.records)
    kept = [
        n
        for n, records in enumerate(zip(*columns, strict=True))
        if not any(record and record[0] in expired for record in records)
    ]
    image, spectrum, energy = (MemberColumn.of([column[n] for n in kept]) for column in columns)
    lists = {
        name: [getattr(group, name)[n] for n in kept] for name in ("shots", "pulses", "revisions", "kinds")
    }
    return group.model_copy(update={**lists, "image": image, "spectrum": spectrum, "energy": energy})


def examples_of(
    group: Group, images: NDArray[np.uint16], spectra: NDArray[np.float32], energies: NDArray[np.float32]
) -> list[Triplet]:
    """Return the examples of a group from their images (n, h, w), spectra (n, m) and energies (n,)."""
    front, amp, arm = (*group.series.place.levels, NO_LEVEL, NO_LEVEL)[:3]
    return [
        Triplet(
            image=images[n],
            energymeter=energies[n],
            spectra=spectra[n],
            front=front,
            amp=amp,
            arm=arm,
            timestamp=pulse,
            interval=group.series.interval,
            date=f"{instant(pulse):%Y-%m-%d}",
        )
        for n, pulse in enumerate(group.pulses)
    ]


def _group(batch: ShotBatch, camera: Member, shots: Sequence[ChosenShot]) -> Group:
    seen = [shot for shot in shots if _record(camera, shot.index)]
    return Group(
        batch=batch.batch_id,
        series=batch.series,
        camera=camera.device,
        shots=[shot.id for shot in seen],
        pulses=batch.pulses[[shot.index for shot in seen]].tolist(),
        revisions=[shot.revision for shot in seen],
        kinds=[list(shot.kinds) for shot in seen],
        image=_column([camera], seen),
        spectrum=_column(_members(batch, DeviceKind.SPECTRO), seen),
        energy=_column(_members(batch, DeviceKind.ENERGY_METER), seen),
    )


def _members(batch: ShotBatch, kind: DeviceKind) -> list[Member]:
    return sorted(batch.members_of((kind,)), key=lambda member: member.device)


def _column(members: Sequence[Member], shots: Sequence[ChosenShot]) -> MemberColumn:
    return MemberColumn.of([next(_records(members, shot.index), None) for shot in shots])


def _records(members: Sequence[Member], index: int) -> Iterator[Record]:
    for member in members:
        if record := _record(member, index):
            yield record


def _record(member: Member, index: int) -> Record | None:
    """Return the member's record of a shot if it is valid; None otherwise."""
    record = member.of_shot(index)
    if record.block is None or record.row is None or not record.valid:
        return None
    return record.block, record.row
