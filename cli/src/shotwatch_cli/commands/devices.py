"""`shotwatch devices`: how devices worked."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import counting, print_json, stdout, table
from shotwatch_cli.places import places_within
from shotwatch_cli.rest import Primitive
from shotwatch_cli.timelines import draw_timelines
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.facility import ExpectedDevices, StatePolicy
from shotwatch_shots.pulses import epoch_ms

_TIMEOUT_S = 120
"""The API can take this long for one day of a place with many devices at 10 Hz."""
_COLUMNS = (
    *("device", "place", "time in state", "gaps#", "missing#", "longest gap#"),
    *("changes/h#", "refused#", "clock (ms)#"),
)


def devices(
    start: FromOption = None,
    end: ToOption = None,
    place: Annotated[
        str | None, typer.Option(help="Devices of this place, or of all places that begin so: LA, LA-A1.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="PNG file for the states over time.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Show how devices worked, by default on the last day of data: share of time in each state, gaps, clocks.

    A gap is where the next record came more than 1.5 sampling periods after the previous one. The clock is
    compared with that of another device of the place. With --json one line per device.

    \b
    Examples:
      shotwatch devices --place LA --plot devices.png
      shotwatch devices --from 2022-07-01T07:00 --to 2022-07-01T08:00 --json
    """
    if start is not None and end is not None and start >= end:
        raise Misuse("--from is not before --to")
    deployment = find_deployment(root, name)
    facility = load_facility(deployment.settings.facility)
    asked = {"from": start, "to": end}
    span = {edge: epoch_ms(time) for edge, time in asked.items() if time is not None}
    reports = asyncio.run(_reports(deployment, places_within(facility, place), span))
    if not reports:
        raise Failure("no device recorded anything in this time", "choose another time with --from and --to")
    _show(reports, json)
    if plot is not None:
        _draw(reports, facility.state, plot)


def device_table(reports: Sequence[Answer]) -> Table:
    """Return a table with a row for each device."""
    title = f"{len(reports)} devices, {reports[0]['start']} to {reports[0]['end']}"
    return table(title, _COLUMNS, map(_row, reports))


async def _reports(
    deployment: Deployment, all_expected: Sequence[ExpectedDevices], span: Mapping[str, Primitive]
) -> list[Answer]:
    """Return the reports of all devices, requested place by place because the API reads every record.

    All requests cover the span of time that the first response reports.
    """
    reports: list[Answer] = []
    with counting() as progress:
        task = progress.add_task("reading records, place by place", total=len(all_expected))
        async with deployment.api(timeout_s=_TIMEOUT_S) as api:
            for expected in all_expected:
                answer = await api.get("/reports", place=str(expected.place), **span)
                span = {"from": answer["start"], "to": answer["end"]}
                reports += answer["devices"]
                progress.advance(task)
    return reports


def _show(reports: Sequence[Answer], json: bool) -> None:
    if json:
        for report in reports:
            print_json(report)
    else:
        stdout.print(device_table(reports))


def _draw(reports: Sequence[Answer], policy: StatePolicy, file: Path) -> None:
    try:
        draw_timelines(reports, policy).save(file, "PNG")
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error


def _row(report: Answer) -> Iterator[object]:
    gaps = report["gaps"]
    yield report["device"]
    yield f"{report['place']} ({report['interval']})"
    yield ", ".join(f"{each['state'] or 'no state'} {each['share']:.1%}" for each in report["states"])
    yield gaps["count"]
    yield _duration(gaps["total_s"])
    yield _duration(gaps["longest_s"])
    yield f"{report['chatter']['per_hour']:.1f}"
    yield ", ".join(f"{count} {reason}" for reason, count in report["refused"].items()) or 0
    yield _clock(report["clock"])


def _duration(seconds: float) -> str:
    """Format a duration: `0:00:00.3`, `1 day, 2:03:04`."""
    return str(timedelta(seconds=round(seconds, 1))).removesuffix("00000")


def _clock(clock: Answer | None) -> str:
    if clock is None or clock["offset_ms"] is None:
        return "?"
    return f"{clock['offset_ms']:+.1f} ± {clock['spread_ms']:.1f}"
