"""`shotwatch benchmark`: how much the detector finds, at how many false alarms an hour."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotwatch_cli.failures import Failure
from shotwatch_cli.options import FACILITY, FacilityOption, JsonOption, SeedOption
from shotwatch_cli.output import counting, print_json, stdout, table
from shotwatch_common.facility import Facility, load_facility

if TYPE_CHECKING:
    from shotwatch_benchmark.lasers import Laser
    from shotwatch_benchmark.results import Outcome


class Sizes(StrEnum):
    """How much is measured."""

    SMALL = "small"
    FULL = "full"


def measure_detection(
    frames: Annotated[
        Path | None,
        typer.Option(exists=True, help="Folder of recorded frames of one laser; simulated ones without it."),
    ] = None,
    unseen: Annotated[
        Path | None,
        typer.Option(exists=True, help="A frame, or a folder of them, of a laser that training never sees."),
    ] = None,
    size: Annotated[Sizes, typer.Option(help="A minute for CI, or twenty for figures.")] = Sizes.SMALL,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the report.")] = Path("benchmark"),
    facility: FacilityOption = FACILITY,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Train a detector on normal shots, put anomalies into later ones, and count what it finds.

    Shots are made of recorded frames: moved, with another energy and fresh noise, and anomalies put in by
    physics. The usual other scores are measured on the same shots. Writes report.md, report.json and
    recall.png. Fails if an anomaly of severity zero can be told from a normal shot.

    \b
    Examples:
      shotwatch benchmark
      shotwatch benchmark --frames recordings/beam --unseen recordings/other.pgm --size full
    """
    outcome = _measure(frames, unseen, load_facility(facility), size, seed)
    from shotwatch_benchmark.report import tables, write_report

    write_report(outcome, out)
    if json:
        print_json(outcome.record())
    else:
        for each in tables(outcome):
            stdout.print(table(each.title, each.columns, each.rows))
        stdout.print(f"written to {out}")
    if outcome.leaks:
        names = ", ".join(f"{row.scorer} on {row.anomaly}: {row.auroc.value:.3f}" for row in outcome.leaks)
        raise Failure(f"severity zero can be told from normal, so the benchmark leaks: AUROC of {names}")


def _measure(
    frames: Path | None, unseen: Path | None, facility: Facility, size: Sizes, seed: int
) -> "Outcome":
    # TensorFlow takes seconds to import: only for this command.
    from shotwatch_benchmark.protocol import SIZES, run_benchmark

    with counting() as bars:
        task = bars.add_task("reading frames", total=None)

        def tell(doing: str, done: int, total: int) -> None:
            bars.update(task, description=doing, completed=done, total=total or None)

        lasers = _laser(frames, "simulated", seed), _laser(unseen, "simulated, another", seed)
        return run_benchmark(*lasers, facility, SIZES[size.value], seed, tell)


def _laser(path: Path | None, otherwise: str, seed: int) -> "Laser":
    from shotwatch_benchmark.lasers import recorded_laser, simulated_laser

    try:
        return recorded_laser(path) if path else simulated_laser(otherwise, seed)
    except ValueError as error:
        raise Failure(str(error), "choose frames that show one beam") from error
