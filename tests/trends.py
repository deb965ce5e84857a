"""A slow change that the archive holds, for `history` to find."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.measurements import Source
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms

METER = "LA_A3_31-EM_1-EnergyMeter-1"
PLACE = ShotSeries.parse("LA-A3-31-60s")
START = epoch_ms(datetime(2024, 3, 1, 8, tzinfo=UTC))
DROPPED = START + 60_000 * 70
_SHOTS = 120


async def drop_energy(archive: Archive) -> None:
    """Two hours of shots at a meter that shows a tenth less from `DROPPED` on."""
    noise = np.random.default_rng(0).normal(0, 0.002, _SHOTS)
    level = [1.0 if _shot(n).pulses[0] < DROPPED else 0.9 for n in range(_SHOTS)]
    await keep_energies(archive, (level + noise).tolist())


async def keep_energies(archive: Archive, energies: Sequence[float], first: int = 0) -> None:
    """One shot a minute from the minute `first` on, measured at the meter."""
    for n, energy in enumerate(energies, first):
        await archive.measurements.keep(_shot(n), Source.FEATURES, {METER: {"energy": np.array([energy])}})
    last = int(_shot(first + len(energies) - 1).pulses[0])
    await archive.devices.saw(METER, LastState(last, "ON"), epoch_now())


def _shot(n: int) -> ShotBatch:
    return ShotBatch(
        batch_id=f"trend-{n}",
        window_id=f"trend-{n}",
        series=PLACE,
        pulses=[START + 60_000 * n],
        revisions=[1],
        complete=[True],
        members=[],
        last_arrival=0,
    )
