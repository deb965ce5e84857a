"""A facility with two levels and without spectrometers: its files become measured shots as HPLS's do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import structlog
from opentelemetry import trace

from shotwatch_aggregate.service import Aggregator
from shotwatch_common.blocks import read_block, write_block
from shotwatch_features.service import Measurer
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_ingest.readers.exchange import written_columns
from shotwatch_ingest.readers.pool import ReaderPool
from shotwatch_shots.batch import ShotBatch, ShotsMeasured
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import FacilityError
from shotwatch_shots.facility_parsing import parse_facility
from shotwatch_shots.pulses import epoch_ms, shot_id
from shotwatch_shots.records import BlockRef, DeviceRecords, FileValidated, ObjectRef
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_shots.window import Window
from shotwatch_simulator.anomalies import Injection, Kind
from shotwatch_simulator.simulation import Simulation, simulate
from shotwatch_validate.domain.judge import judge
from tests.support.readers import workspace_of

FACILITY = parse_facility(
    r"""
name: TestStand
first_day: 2024-01-01
clock_skew_s: 60
levels: [line, station]
layouts:
  - name: snapshot
    arrangement: timestamps
    file_name: '(?P<line>L\d)_[^_]+_(?P<interval>1s)_snapshot_(?P<date>[\d-]{10})_(?P<time>[\d-]{8})\.h5'
    length_s: 60
group_name: '(?P<line>L\d)_(?P<station>S\d)-'
device_types:
  - name: Camera
    words: [Camera]
    kind: Camera
    datasets: [{name: Frame, shape: [60, 80], range: [0, 65535], unit: counts}]
  - name: PowerMeter
    words: [PowerMeter]
    kind: EnergyMeter
    datasets: [{name: pulse1, range: [-1, 50], unit: J}, {name: pulse2, range: [-1, 50], unit: J}]
state: {dataset: STATUS, "on": RUNNING, broken: [FAULT]}
frames: {black_below: 400, saturated_at: 65535, saturated_share: 0.005}
energy_disagreement: 0.2
intervals: [{name: 1s, tolerance_ms: 500, lateness_s: 20}]
places: [{place: L1-S2, interval: 1s, devices: [L1_S2-Camera_1, L1_S2-PowerMeter_1]}]
""",
    "teststand.yaml",
)
ReadObject = tuple[str, list[tuple[DeviceRecords, pa.Buffer]]]
"""The key of a file, and the records of its devices with their blocks."""
CAMERA, METER = "L1_S2-Camera_1", "L1_S2-PowerMeter_1"
START = datetime(2025, 3, 4, 10, 20, tzinfo=UTC)
PULSES = 5
BROKEN_PULSE = epoch_ms(START) + 2000


class World:
    """Doubles of the servers, as far as joining and measuring need them."""

    def __init__(self) -> None:
        self.blocks: dict[str, pa.Buffer] = {}
        self.windows: dict[str, Window] = {}
        self.sent: list[Any] = []
        self.measured: dict[str, Any] = {}
        self.context: Any = SimpleNamespace(
            facility=FACILITY,
            archive=SimpleNamespace(
                windows=SimpleNamespace(
                    load=self._load,
                    save=self._save,
                    of_file=_none,
                    remove_from_outbox=self._remove_from_outbox,
                ),
                ledger=SimpleNamespace(note_joined=_none),
                devices=SimpleNamespace(saw=_none),
                batches=SimpleNamespace(add=_none, detailed=_none),
                states_before=_nothing_known,
                measurements=SimpleNamespace(keep=self._keep),
            ),
            bus=SimpleNamespace(send=self._send, ready=_none),
            store=SimpleNamespace(get=self._get, block_cache=None),
            tracer=trace.get_tracer("test"),
            log=structlog.get_logger(),
            servers_answer=_none,
        )

    async def _load(self, window_id: str, _interval_of: object) -> Window | None:
        return self.windows.get(window_id)

    async def _save(self, window: Window, _deadline: int) -> bool:
        self.windows[window.id] = window
        return True

    async def _remove_from_outbox(self, window_id: str, _batch_id: str) -> None:
        self.windows[window_id] = replace(self.windows[window_id], outbox={})

    async def _send(self, _stage: str, message: ShotBatch | ShotsMeasured) -> None:
        self.sent.append(message)

    async def _get(self, _bucket: str, key: str, _most: int) -> bytes:
        return self.blocks[key]

    async def _keep(self, _batch: ShotBatch, source: str, columns: Any) -> None:
        self.measured[source] = columns


async def _none(*_any: Any) -> list[Any]:
    return []


async def _nothing_known(*_any: Any) -> dict[str, str]:
    return {}


@pytest.fixture
async def files(tmp_path: Path) -> list[ReadObject]:
    """Return the simulated files as ingest reads them."""
    broken = Injection(
        Kind.FAULT, FACILITY.places[0].place, FACILITY.interval("1s"), (METER,), BROKEN_PULSE, 1, 1.0
    )
    simulation = Simulation(FACILITY, FACILITY.places, START, timedelta(seconds=PULSES), injections=(broken,))
    found = []
    async with ReaderPool(FACILITY, processes=1) as pool:
        for path in simulate(simulation, tmp_path):
            name = FACILITY.file_name(path.name)
            assert name is not None
            assert (str(name.area), name.interval, name.starts_at) == ("L1", "1s", START)
            with workspace_of(path.read_bytes()) as workspace:
                read = await pool.read(workspace, name, path.name, epoch_ms(START) + 3_600_000)
                assert not read.skipped
                columns = written_columns(read.devices, FACILITY)
                devices = [
                    (
                        device.records(_block(device.device, path.name)),
                        write_block(device.block(workspace.arrays(of_device))),
                    )
                    for device, of_device in zip(read.devices, columns, strict=True)
                ]
            found.append((path.name, devices))
    return found


def _block(device: str, key: str) -> BlockRef:
    return BlockRef(bucket="blocks", key=device, object_id=key, object_key=key)


async def test_files_become_shots_and_shots_are_measured(files: list[ReadObject]) -> None:
    world = World()
    aggregator = Aggregator(world.context)
    for key, devices in files:
        world.blocks |= {records.device: block for records, block in devices}
        judged = [judge(records, FACILITY) for records, _ in devices]
        obj = ObjectRef(object_id=key, bucket="inbox", key=key, etag="e", size=1, arrived_at=1)
        await aggregator.join(FileValidated(object=obj, devices=judged))
    closed = {pulse: batch for batch in world.sent for pulse in batch.pulses.tolist()}
    assert sorted(closed) == [epoch_ms(START) + 1000 * n for n in range(PULSES)]
    batch = closed[BROKEN_PULSE]
    assert shot_id(batch.series, BROKEN_PULSE) == "L1-S2-1s-20250304T102002.000"
    assert {member.device for member in batch.members} == {CAMERA, METER}

    (finding,) = apply_rules(batch, {}, batch.series.place.in_words, FACILITY)
    assert (finding.kind, finding.devices, batch.pulses[finding.shot]) == (
        AnomalyKind.DEVICE_STATE,
        (METER,),
        BROKEN_PULSE,
    )
    assert "L1 S2" in finding.why

    calibration: Any = SimpleNamespace(newest=lambda _device, _kind: None)
    of_meter = [member for member in batch.members if member.device == METER]
    await Measurer(world.context, calibration).measure(batch.model_copy(update={"members": of_meter}))
    energies = read_block(world.blocks[METER]).arrays
    mean = (energies["energy1"] + energies["energy2"]) / 2
    mean[batch.pulses == BROKEN_PULSE] = np.nan
    assert world.measured["features"][METER]["energy"] == pytest.approx(mean, nan_ok=True)
    assert read_block(world.blocks[CAMERA]).arrays["image"].shape == (PULSES, 60, 80)


def test_a_kind_of_device_that_the_facility_lacks_is_named() -> None:
    with pytest.raises(FacilityError, match="TestStand has no devices of the kind Spectro"):
        FACILITY.dataset(DeviceKind.SPECTRO)
