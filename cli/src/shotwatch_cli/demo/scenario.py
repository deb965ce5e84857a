"""The files that the demo uploads: normal files for training, files with anomalies, and their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shotwatch_cli.failures import Failure
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_simulator.anomalies import Injection
from shotwatch_simulator.image_reader import SkippedFile
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.labels import Label
from shotwatch_simulator.packing import pack, plan_recorded
from shotwatch_simulator.simulation import Simulation, simulate

LIVE_START = datetime(2022, 7, 1, 10, tzinfo=UTC)
DEFAULT_SEED = 7
WORKERS = 2
_OF_EACH_KIND = 2
_RECORDED = ShotSeries.parse("LA-A2-00-1s")
_RECORDED_LEARNING = timedelta(minutes=10)
_RECORDED_REPEAT = 2


@dataclass(frozen=True, slots=True)
class Stretch:
    """The durations for which a series is recorded: first for training, then live."""

    series: ShotSeries
    learning: timedelta
    live: timedelta
    anomalous: bool = True
    """Whether anomalies are injected into its live files."""


# The 1 Hz stretch is long enough to contain a whole slow drift. Trained on half of a drift, the model would
# call the other half anomalous.
STRETCHES = (
    Stretch(ShotSeries.parse("LA-A1-11-100ms"), timedelta(minutes=1), timedelta(minutes=1)),
    Stretch(ShotSeries.parse("LA-A2-00-1s"), timedelta(minutes=30), timedelta(minutes=4)),
    Stretch(ShotSeries.parse("LA-A3-31-60s"), timedelta(minutes=120), timedelta(minutes=20), anomalous=False),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Snapshot files in two parts."""

    learning: Sequence[Path]
    live: Sequence[Path]
    """In the order in which the control system closed them."""
    labels: Sequence[Label]
    live_from: int
    """Epoch ms of the first live pulse."""
    skipped: Sequence[SkippedFile] = ()
    """Files of the folder of recorded frames that hold no image."""


def simulated(facility: Facility, folder: Path, seed: int) -> Scenario:
    """Write files of three places of the facility, all of it drawn with this seed."""
    learning: list[Path] = []
    for stretch in STRETCHES:
        start = LIVE_START - stretch.learning
        quiet = Simulation(facility, (_expected(facility, stretch),), start, stretch.learning, seed)
        learning += simulate(quiet, folder / "learning" / str(stretch.series.place), WORKERS)
    live: list[Path] = []
    labels: list[Label] = []
    for stretch in STRETCHES:
        expected = _expected(facility, stretch)
        injections = _planned(facility, expected, stretch, seed)
        anomalous = Simulation(facility, (expected,), LIVE_START, stretch.live, seed, injections)
        labels += anomalous.labels
        live += simulate(anomalous, folder / "live" / str(stretch.series.place), WORKERS)
    return Scenario(learning, live, labels, epoch_ms(LIVE_START))


def recorded(facility: Facility, frames: Path, folder: Path, seed: int) -> Scenario:
    """Pack recorded frames as files of one place, in an order drawn with this seed.

    Raises:
        Failure: the frames cannot be packed.
    """
    expected = facility.expected_devices(_RECORDED)
    assert expected is not None
    start = LIVE_START - _RECORDED_LEARNING
    try:
        packing = plan_recorded(
            frames, facility, expected, start, _RECORDED_LEARNING, repeat=_RECORDED_REPEAT, seed=seed
        )
    except ValueError as error:
        raise Failure(str(error), "choose other frames with --frames") from error
    packed = list(pack(packing, folder))
    return Scenario(
        [file.path for file in packed if file.phase == "train"],
        [file.path for file in packed if file.phase == "live"],
        packing.labels,
        epoch_ms(LIVE_START),
        packing.recording.skipped,
    )


def _planned(
    facility: Facility, expected: ExpectedDevices, stretch: Stretch, seed: int
) -> tuple[Injection, ...]:
    if not stretch.anomalous:
        return ()
    return plan_injections(facility, [expected], LIVE_START, stretch.live, seed=seed, each=_OF_EACH_KIND)


def _expected(facility: Facility, stretch: Stretch) -> ExpectedDevices:
    expected = facility.expected_devices(stretch.series)
    if expected is None:
        raise ValueError(f"{facility.name} has no series {stretch.series}")
    return expected
