"""What a snapshot file holds: where each record of each device lies, and what lies beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shotwatch_common.errors import Reject
from shotwatch_common.facility import Device, Facility, FileName
from shotwatch_common.vocabulary import FileReason
from shotwatch_ingest.domain.hdf5 import ROOT, Hdf5Image, Link, Refused

MAX_NAMES = 100_000
"""Names in one group: the timestamps of a file, or the images of a day (86,400 at 1 Hz)."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where one record of a device lies in the file."""

    time: int
    """Epoch ms."""
    datasets: Mapping[bytes, Link]


class Inventory:
    """The records of a file, by device and in the order of time.

    Raises:
        Reject: NOT_A_SNAPSHOT, UNREADABLE or TOO_LARGE.
    """

    def __init__(self, file: Hdf5Image, name: FileName, facility: Facility) -> None:
        self._file = file
        self._name = name
        self._facility = facility
        self._devices: dict[str, Device | None] = {}
        self._damage: list[str] = []
        self.skipped: dict[str, str] = {}
        """Path or name → why it was passed over."""
        self.records: dict[Device, list[Record]] = {}
        found = self._images() if name.layout.arrangement == "images" else self._timestamps()
        for device, record in found:
            self.records.setdefault(device, []).append(record)
        if not self.records:
            raise self._nothing()
        for records in self.records.values():
            records.sort(key=lambda record: record.time)

    def _timestamps(self) -> Iterator[tuple[Device, Record]]:
        """`/{timestamp}/{group}/{dataset}`."""
        for time, moment in self._moments(ROOT):
            for name, group in self._links(moment).items():
                if device := self._device(_text(name)):
                    yield device, Record(time, self._links(group))

    def _images(self) -> Iterator[tuple[Device, Record]]:
        """`/IMAGES/DTG_{id}/{timestamp}`."""
        images = self._links(ROOT).get(b"IMAGES")
        for name, group in self._links(images).items() if images else ():
            if device := self._device(self._facility.image_groups.get(_text(name), _text(name))):
                datasets = self._facility.device_type(device.group).datasets
                for time, image in self._moments(group):
                    yield device, Record(time, {dataset.name.encode(): image for dataset in datasets})

    def _moments(self, group: Link) -> Iterator[tuple[int, Link]]:
        """What a group holds under names that are times of day, with the time (epoch ms)."""
        for name, link in self._links(group).items():
            try:
                time = self._name.record_time_ms(_text(name))
            except ValueError as error:
                self.skipped[str(link)] = str(error)
            else:
                yield time, link

    def _device(self, group: str) -> Device | None:
        if group not in self._devices:
            device = self._devices[group] = self._facility.device(group)
            if device is None:
                self.skipped[group] = "names no place of the facility"
        return self._devices[group]

    def _links(self, group: Link) -> dict[bytes, Link]:
        try:
            links = self._file.links(group)
        except Refused as refused:
            self.skipped[str(group)] = refused.detail
            self._damage.append(f"{group}: {refused.detail}")
            return {}
        if len(links) > MAX_NAMES:
            raise Reject(FileReason.TOO_LARGE, f"{self._file.key}: {group}: holds {len(links)} names")
        return links

    def _nothing(self) -> Reject:
        if self._damage:
            return Reject(FileReason.UNREADABLE, f"{self._file.key}: {self._damage[0]}")
        passed_over = "".join(f", {what} {why}" for what, why in list(self.skipped.items())[:1])
        return Reject(
            FileReason.NOT_A_SNAPSHOT, f"{self._file.key}: /: holds no record of a device{passed_over}"
        )


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
