"""The inventory of a snapshot file: where each record of each device lies, and what is skipped."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shotwatch_ingest.domain.expectation import Expectation, Skip
from shotwatch_ingest.domain.hdf5.image import ROOT, Hdf5Image, Link, Unreadable
from shotwatch_ingest.domain.hdf5.structures import RepeatedGroups
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import Device, Facility, FileName
from shotwatch_shots.ledger import SkippedPart
from shotwatch_shots.vocabulary import FileReason, SkipReason

MAX_EXAMPLES = 2
"""Number of skipped parts of a file that are listed, for each reason."""
_REJECTIONS = {
    SkipReason.UNREADABLE: FileReason.UNREADABLE,
    SkipReason.IMPOSSIBLE_TIME: FileReason.IMPOSSIBLE_TIME,
    SkipReason.OUTSIDE_SPAN: FileReason.OUTSIDE_SPAN,
    SkipReason.FOREIGN_DEVICE: FileReason.FOREIGN_DEVICES,
    SkipReason.BAD_NAME: FileReason.BAD_NAMES,
}
"""Reasons to reject a file in which no record is left, in order of precedence."""


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """The location of one record of a device in the file."""

    time: int
    """Epoch ms."""
    datasets: Mapping[bytes, Link]


@dataclass(frozen=True, slots=True)
class SkippedParts:
    """The skipped parts of a file: counted by reason, with two examples of each."""

    counts: Counter[SkipReason] = field(default_factory=Counter)
    examples: list[SkippedPart] = field(default_factory=list)

    def add(self, link: Link, reason: SkipReason, detail: str) -> None:
        self.counts[reason] += 1
        if self.counts[reason] <= MAX_EXAMPLES:
            self.examples.append(SkippedPart(where=str(link), reason=reason, detail=detail))


class Inventory:
    """The records of a file, by device and in order of time. Each group is visited once.

    Raises:
        Reject: no record is found or left in the file, with the reason; or TOO_LARGE.
    """

    def __init__(self, file: Hdf5Image, name: FileName, facility: Facility, latest_ms: int) -> None:
        self._file = file
        self._groups = RepeatedGroups(file)
        self._facility = facility
        self._expectation = Expectation(file.key, name, facility, latest_ms)
        self._devices: dict[bytes, Device | None] = {}
        self._visited = {ROOT.address: ROOT}
        self.skipped = SkippedParts()
        self.records: dict[Device, list[RecordLocation]] = {}
        if name.layout.arrangement == "images":
            self._take_images()
        else:
            self._take_timestamps()
        if not self.records:
            raise self._nothing()
        for records in self.records.values():
            records.sort(key=lambda record: record.time)

    def _take_timestamps(self) -> None:
        """Take records from `/{timestamp}/{group}/{dataset}`."""
        for time, moment in self._moments(ROOT):
            for group in self._links(moment).values() if self._is_new(moment) else ():
                device = self._device(group)
                if device and self._admits(device, time, group) and self._is_new(group):
                    self.records.setdefault(device, []).append(RecordLocation(time, self._links(group)))

    def _take_images(self) -> None:
        """Take records from `/IMAGES/DTG_{id}/{timestamp}`."""
        images = self._links(ROOT).get(b"IMAGES")
        for group in self._links(images).values() if images else ():
            if (device := self._device(group)) and self._is_new(group):
                datasets = self._facility.device_type(device.group).datasets
                for time, image in self._moments(group):
                    if self._admits(device, time, image):
                        record = RecordLocation(time, {dataset.name.encode(): image for dataset in datasets})
                        self.records.setdefault(device, []).append(record)

    def _moments(self, group: Link) -> Iterator[tuple[int, Link]]:
        """Yield the time (epoch ms) and the link of each name in a group that is a time of day."""
        for name, link in self._links(group).items():
            try:
                time = self._expectation.time(name)
            except Skip as skip:
                self.skipped.add(link, skip.reason, skip.detail)
            else:
                yield time, link

    def _device(self, group: Link) -> Device | None:
        """Return the device of a group; a name that denotes no device is skipped once for the whole file."""
        if group.name not in self._devices:
            device = None
            try:
                device = self._expectation.device(group.name)
            except Skip as skip:
                self.skipped.add(group, skip.reason, skip.detail)
            self._devices[group.name] = device
        return self._devices[group.name]

    def _admits(self, device: Device, time: int, link: Link) -> bool:
        """Return whether the device may have one more record, at this time; if not, count it as skipped."""
        try:
            self._expectation.require_time(time)
        except Skip as skip:
            self.skipped.add(link, skip.reason, f"{device.group} {skip.detail}")
            return False
        if len(self.records.get(device, ())) == self._expectation.max_records:
            detail = f"the file has {self._expectation.max_records} records of {device.group} before it"
            self.skipped.add(link, SkipReason.TOO_MANY_RECORDS, detail)
            return False
        return True

    def _is_new(self, group: Link) -> bool:
        """Return whether the group was not visited yet under another name, and mark it as visited."""
        if not group.is_hard:
            return True
        visited = self._visited.setdefault(group.address, group)
        if visited is not group:
            self.skipped.add(group, SkipReason.SAME_GROUP, f"is the same group as {visited}")
        return visited is group

    def _links(self, group: Link) -> dict[bytes, Link]:
        """Return the links in a group; none if it cannot be read."""
        try:
            return self._groups.links(group)
        except Unreadable as error:
            self.skipped.add(group, SkipReason.UNREADABLE, error.detail)
            return {}

    def _nothing(self) -> Reject:
        for skipped_as, reason in _REJECTIONS.items():
            for example in self.skipped.examples:
                if example.reason is skipped_as:
                    return Reject(reason, f"{self._file.key}: {example.where}: {example.detail}")
        skipped = "".join(f"; {each.where}: {each.detail}" for each in self.skipped.examples[:1])
        return Reject(FileReason.NOT_A_SNAPSHOT, f"{self._file.key}: /: holds no record of a device{skipped}")
