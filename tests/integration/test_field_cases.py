"""Cases that other facilities have met, made by scripts that know nothing of this code, on real servers."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shotwatch_shots.place import Place
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind, FileReason

from .conftest import Running
from .test_cli import shotwatch
from .waiting import until

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "public"
MINUTE = timedelta(minutes=1)


def made(case: str, folder: Path) -> Path:
    """Run the script of a case in a folder; skips the test where the cases are not at hand."""
    script = CASES / case / "make.py"
    if not script.is_file():
        pytest.skip("needs shared/cases beside the repository")
    subprocess.run([sys.executable, script], cwd=folder, check=True, capture_output=True)
    return folder


async def shots(running: Running, start: datetime) -> Sequence[JudgedShot]:
    place = ShotFilter(area=Place.parse("LB-A2-00"))
    return await running.archive.shots.page(place, epoch_ms(start), epoch_ms(start + MINUTE), 0)


async def missing(running: Running, start: datetime) -> set[str]:
    """Devices that an event that still holds reports as missing though switched on."""
    found = await running.archive.events.of_shots([shot.id for shot in await shots(running, start)])
    over = {id_ for event in found for id_ in event.data.supersedes}
    standing = [e for e in found if e.id not in over and e.data.kind == "missing_member"]
    return {device for event in standing for device in event.data.devices}


async def reprocess(running: Running, start: datetime) -> None:
    span = ("--from", start.isoformat(), "--to", (start + MINUTE).isoformat())
    result = await shotwatch(running, "reprocess", *span, "--stage", "aggregate", "--rate", "6000", "--json")
    assert result.exit_code == 0, result.stderr


async def test_whether_a_missing_device_was_on_is_a_matter_of_its_own_day(
    running: Running, tmp_path: Path
) -> None:
    folder = made("03-state-of-another-day", tmp_path)
    days = [datetime(2024, 4, day, 8, tzinfo=UTC) for day in range(1, 5)]

    async def live(day: datetime) -> None:
        await running.upload(*sorted((folder / f"{day:%Y-%m-%d}").iterdir()))
        await running.judged()

    await live(days[0])
    assert len(await shots(running, days[0])) == 10
    assert await missing(running, days[0]) == set()
    await live(days[1])
    await reprocess(running, days[0])
    assert {shot.revision for shot in await shots(running, days[0])} == {2}
    assert await missing(running, days[0]) == set()
    await live(days[2])
    assert await missing(running, days[2]) == {"LB_A2-EM_2-EnergyMeter-2"}
    await live(days[3])
    await reprocess(running, days[2])
    assert {shot.revision for shot in await shots(running, days[2])} == {2}
    assert await missing(running, days[2]) == {"LB_A2-EM_2-EnergyMeter-2"}


async def test_a_meter_half_a_period_off_is_missing_in_no_shot(running: Running, tmp_path: Path) -> None:
    await running.upload(*sorted(made("05-half-period", tmp_path).iterdir()))
    await running.judged()
    start = datetime(2024, 11, 1, 10, tzinfo=UTC)
    found = await shots(running, start)
    assert len(found) == 60
    meters = {"LB_A2-EM_1-EnergyMeter-1", "LB_A2-EM_2-EnergyMeter-2"}
    assert not any(meters & set(shot.missing) for shot in found)
    assert await missing(running, start) == set()


@pytest.mark.timeout(360)
async def test_a_day_that_has_not_come_yet_is_the_end_of_no_view(running: Running, tmp_path: Path) -> None:
    """Both lines record the same change; the recorder of one of them also has a wrong clock."""
    folder = made("01-future-clock", tmp_path)
    start, end = (epoch_ms(datetime(2024, 6, 1, hour, tzinfo=UTC)) for hour in (10, 11))
    wrong = next(folder.glob("*_2099-01-01_*"))
    await running.upload(wrong)
    await running.judged()
    assert (await running.archive.ledger.newest([wrong.name]))[0].reason == FileReason.IMPOSSIBLE_TIME
    result = await shotwatch(running, "devices", "--json")
    assert result.exit_code == 0, result.stderr
    assert "2099-" not in result.stdout

    await running.upload(*sorted(folder.glob("*_2024-06-01_*")))
    await running.judged()

    async def found_in_both() -> bool:
        events = await running.archive.events.between(start, end)
        found = {device for e in events if e.data.kind == AnomalyKind.TREND for device in e.data.devices}
        return found >= {"LA_FSD-EM_1-EnergyMeter-1", "LB_FSD-EM_1-EnergyMeter-1"}

    await until(found_in_both, "the change of both meters")
