"""Single shots beside other load: files that hold one shot each, and the delay until its event arrives.

The facility has no such place: `with_probe` adds one. In every shot the two energies of each meter disagree,
which a rule reports with and without a model. Each shot is an incident of its own, so it raises an event.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, time

import aio_pika
import yaml
from aio_pika.abc import AbstractExchange

from shotwatch_cli.demo.run import EventRecorder
from shotwatch_cli.uploads import Upload, planned_uploads, upload_all
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.anomalies import Injection, Kind
from shotwatch_simulator.simulation import Simulation

from .made_files import CACHE, made_files
from .minutes import SingleShot

PROBE = ShotSeries.parse("LA-XP_DI-00-1s")
_DEVICES = ("LA_XP_DI-Camera_1-Camera-1", "LA_XP_DI-EM_1-EnergyMeter-1", "LA_XP_DI-Spectro_1-Spectro-1")
_SEVERITY = 0.4
_DISTANCE = timedelta(seconds=20)
"""In facility time. An incident at this place is over after ten seconds without another anomalous shot."""

Shot = tuple[int, Sequence[Upload]]
"""Epoch ms of the pulse, and the files of the members."""


def with_probe(facility: Path, folder: Path) -> Path:
    """Write the facility file with one more place, PROBE, into the folder, and return its path."""
    content = yaml.safe_load(facility.read_text(encoding="utf-8"))
    place = {"place": str(PROBE.place), "interval": PROBE.interval, "devices": list(_DEVICES)}
    content["places"].append(place)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / facility.name
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def single_shots(
    facility: Facility, series: ShotSeries, start: datetime, count: int, seed: int, cache: Path = CACHE
) -> list[Shot]:
    """Make (or find in the cache) the files of this many single shots of a place, in the order of time."""
    return [
        (epoch_ms(shot.start), planned_uploads(made_files(shot, cache)))
        for shot in (_single_shot(facility, series, start + n * _DISTANCE, seed) for n in range(count))
    ]


def _single_shot(facility: Facility, series: ShotSeries, at: datetime, seed: int) -> Simulation:
    expected, interval = facility.expected_devices(series), facility.interval(series.interval)
    assert expected is not None
    meters = tuple(
        group for group in expected.devices if facility.device_type(group).kind is DeviceKind.ENERGY_METER
    )
    period = timedelta(milliseconds=interval.period_ms)
    disagree = Injection(Kind.ENERGY_DISAGREEMENT, series.place, interval, meters, epoch_ms(at), 1, _SEVERITY)
    return Simulation(facility, (expected,), at, period, seed, (disagree,), file_length=period)


@dataclass
class Probe:
    """Uploads single shots one after the other, each with an object event for each file.

    A store with notifications sends such events; the embedded one does not, and there the delay would
    include the pause between two sweeps of the inbox.
    """

    settings: BrokerSettings
    store: ObjectStore
    work: AbstractExchange
    """The exchange of the services."""
    events: EventRecorder
    shots: Sequence[Shot]
    _uploaded: dict[int, float] = field(default_factory=dict)
    """Pulse → when its last file had arrived (seconds since the epoch)."""

    async def upload(self, count: int, every_s: float) -> None:
        """Upload the next `count` shots, one every `every_s` seconds; fewer if there are no more."""
        started, first = monotonic(), len(self._uploaded)
        for n, (pulse, members) in enumerate(self.shots[first : first + count]):
            await asyncio.sleep(started + n * every_s - monotonic())
            self._uploaded[pulse] = await self._put(members)

    async def all_raised(self, within_s: float) -> None:
        """Wait until every uploaded shot has raised its event, at most `within_s` seconds."""
        until = monotonic() + within_s
        while monotonic() < until and not self._uploaded.keys() <= self._raised().keys():
            await asyncio.sleep(0.1)

    def results(self) -> list[SingleShot]:
        """Return the uploaded shots, in the order of their upload."""
        raised = self._raised()
        return [SingleShot(at, raised.get(pulse)) for pulse, at in self._uploaded.items()]

    def _raised(self) -> dict[int, float]:
        """Return when the first event of each shot arrived (seconds since the epoch), by pulse."""
        epoch = time() - monotonic()
        raised: dict[int, float] = {}
        for seen in self.events.seen:
            anomaly = seen.event.data
            if anomaly.kind is AnomalyKind.ENERGY_DISAGREEMENT and anomaly.time in self._uploaded:
                raised.setdefault(anomaly.time, seen.at + epoch)
        return raised

    async def _put(self, members: Sequence[Upload]) -> float:
        arrived: list[float] = []
        await upload_all(self.store, self.settings.inbox_bucket, members, lambda _: arrived.append(time()))
        await asyncio.gather(*map(self._notify, members))
        return max(arrived)

    async def _notify(self, upload: Upload) -> None:
        """Publish the object event, unless a sweep was faster and the object has left the inbox."""
        inbox = self.settings.inbox_bucket
        etag = await self.store.etag(inbox, upload.key)
        if etag is not None:
            found = ArrivedObject(inbox, upload.key, etag, upload.size, round(time() * 1000))
            await self.work.publish(aio_pika.Message(build_notification(found)), routing_key="ingest")
