"""`shotwatch simulate`: snapshot files of a simulated laser."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shotwatch_cli.failures import Misuse
from shotwatch_cli.injections import planned, read_wanted
from shotwatch_cli.options import (
    FACILITY,
    FacilityOption,
    IntervalOption,
    JsonOption,
    OutOption,
    SeedOption,
    StartOption,
)
from shotwatch_cli.output import report
from shotwatch_cli.places import named_places
from shotwatch_cli.snapshots import minutes_ago, write_all
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.facility import Interval
from shotwatch_simulator.files import MINUTE
from shotwatch_simulator.simulation import Simulation, simulate


def simulate_files(
    places: Annotated[list[str], typer.Option("--places", help="A place such as LA-A1-11; may be repeated.")],
    interval: IntervalOption = None,
    start: StartOption = None,
    minutes: Annotated[float, typer.Option(min=0.001, help="Length of the time.")] = 1,
    seed: SeedOption = 0,
    inject: Annotated[
        list[str] | None,
        typer.Option(help="KIND or KIND:SEVERITY, or `gross` for one of each gross kind; may be repeated."),
    ] = None,
    single_shot: Annotated[
        bool, typer.Option("--single-shot", help="One file per pulse and device.")
    ] = False,
    out: OutOption = Path("snapshots"),
    facility: FacilityOption = FACILITY,
    json: JsonOption = False,
) -> None:
    """Write HDF5 snapshot files of a simulated laser, and labels.json beside them.

    Without --start, the last file ends at about the current time.

    \b
    Examples:
      shotwatch simulate --places LA-A1-11 --minutes 2 --inject gross
      shotwatch simulate --places LA-A2 --places LB-A2 --inject hot_spot:0.1 --out snapshots
    """
    known = load_facility(facility)
    all_expected = named_places(known, places, interval)
    duration = timedelta(minutes=minutes)
    begin = start or minutes_ago(duration)
    injections = planned(known, all_expected, begin, duration, seed, read_wanted(inject or ()))
    length = (
        _one_pulse([known.interval(expected.interval) for expected in all_expected])
        if single_shot
        else MINUTE
    )
    simulation = Simulation(known, all_expected, begin, duration, seed, injections, length)
    paths = simulate(simulation, out, workers=len(os.sched_getaffinity(0)))
    written = write_all(paths, len(simulation.files), out, simulation.labels)
    report(json, written.record(), written.shown())


def _one_pulse(intervals: list[Interval]) -> timedelta:
    periods = {interval.period_ms for interval in intervals}
    if len(periods) > 1:
        raise Misuse("--single-shot writes files of one interval", "name places of one --interval")
    return timedelta(milliseconds=periods.pop())
