"""The whole-facility bench, as `make bench-facility` runs it, with one minute of two places.

No figure is compared with a target: timings on a machine that runs tests depend on what else it does.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shotwatch_cli.output import LiteralConsole
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from tools.bench import facility as bench
from tools.bench.facility_report import write_report

from .conftest import Running

START = datetime(2022, 7, 9, 8, tzinfo=UTC)
PLACES = tuple(ShotSeries.parse(name) for name in ("LB-A2-00-1s", "LB-FSD-00-1s"))
PROBE = ShotSeries.parse("LA-FSD-00-1s")


async def test_a_minute_goes_through_the_bench_and_every_figure_of_it_is_reported(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ALONE", 2)
    monkeypatch.setattr(bench, "SINGLE_SHOTS_PER_MINUTE", 4)
    monkeypatch.setattr(bench, "BESIDE_EVERY_S", 0.2)
    places = tuple(each for each in running.facility.places if each.series in PLACES)
    load = bench.made_load(running.facility, places, PROBE, 1, START, tmp_path / "cache")
    run = await bench.measured(running.stack, running.settings, load, 1.0, LiteralConsole(file=sys.stderr))
    write_report(run, tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    start_ms = epoch_ms(START)
    assert await running.archive.shots.count({}, start_ms, start_ms + 60_000) == 120
    (minute,) = report["minutes"]
    assert (minute["files"], minute["shots"]) == (12, 120)
    assert (minute["files_waiting"], minute["shots_waiting"]) == (0, 0), "the run ends with the last shot"
    assert report["wall_s"] == pytest.approx(minute["upload_s"] + minute["judged_after_s"])
    assert max(each["files_waiting"] for each in report["timeline"]) > 0
    assert report["timeline"][-1]["files_waiting"] == report["timeline"][-1]["shots_waiting"] == 0
    services = ("ingest-1", "validate-1", "aggregate-1", "features-1", "inference-1", "database", "store")
    assert all(report["peak_mib"][name] > 10 for name in services)
    assert sum(report["cpu_s"][name] for name in services) > 0
    assert report["single_shots_alone"]["raised"] == report["single_shots_alone"]["shots"] == 2
    beside = [shot for shot in run.single_shots if shot.uploaded >= run.began]
    assert beside
    assert all(shot.raised is not None and shot.raised > shot.uploaded for shot in run.single_shots)
    assert "| ingest-1 |" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "report" / "timeline.svg").read_text(encoding="utf-8").count("<path") > 10
