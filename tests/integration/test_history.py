"""The service `history` on a running stack: references appear, and slow changes are reported."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np

from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import AnomalyKind, CalibrationKind
from shotwatch_simulator.simulation import Simulation, simulate
from tests.trends import DROPPED, METER, drop_energy

from .conftest import Running, until


async def references(running: Running, device: str) -> Sequence[CalibrationConstants]:
    found = await running.archive.calibration_constants.of_device(device)
    return [each for each in found if each.kind is CalibrationKind.REFERENCE]


async def test_a_camera_gets_a_reference_and_its_shots_are_compared_with_it(
    running: Running, tmp_path: Path
) -> None:
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    camera = next(group for group in expected.devices if "Camera" in group)
    start = datetime(2024, 6, 2, 8, tzinfo=UTC)  # later than what was recorded there: the newest data count
    await running.upload(
        *simulate(Simulation(running.facility, (expected,), start, timedelta(minutes=3)), tmp_path / "before")
    )

    async def made() -> bool:
        return bool(await references(running, camera))

    await until(made, f"a reference of {camera}")
    (reference,) = await references(running, camera)
    assert reference.version == 1
    assert reference.frames >= 100

    minutes = count(3)

    async def compared() -> bool:
        """Features poll for new references now and then: the next minutes may still come too early."""
        later = start + timedelta(minutes=next(minutes))
        await running.upload(
            *simulate(
                Simulation(running.facility, (expected,), later, timedelta(minutes=1)), tmp_path / "after"
            )
        )
        await running.judged()
        names = ["pointing", "distance_to_reference"]
        series = await running.archive.measurements.series(camera, names, epoch_ms(start), epoch_ms(later))
        return all(np.isfinite(values).sum() >= 60 for values in series.columns.values())

    await until(compared, "shots compared with the reference")


async def test_an_energy_that_has_dropped_for_good_is_reported_once(running: Running) -> None:
    await drop_energy(running.archive)

    async def reported() -> bool:
        return METER in {device for device, _ in await running.archive.trends.reported_until()}

    await until(reported, "the change reported")
    found = [
        stored.event.data
        for stored in await running.archive.events.numbered(0, await running.archive.events.last_number())
        if stored.event.data.kind is AnomalyKind.TREND and stored.event.data.devices == [METER]
    ]
    (event,) = found
    assert abs(event.time - DROPPED) <= 60_000
    assert event.severity == "warning"
    assert event.shot.startswith("LA-A3-31-60s-20240301T09")
