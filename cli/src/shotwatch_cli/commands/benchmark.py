"""`shotwatch benchmark`: how many anomalies the detector finds, at how many false alarms an hour."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotwatch_cli.deployment import ROOT, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure
from shotwatch_cli.options import FACILITY, FacilityOption, JsonOption, SeedOption, UnpinnedOption
from shotwatch_cli.output import counting, print_json, stdout, table
from shotwatch_cli.skipped import list_skipped, skipped_record
from shotwatch_common.archive import Archive
from shotwatch_common.bundle_files import NETWORK
from shotwatch_common.facility_file import load_facility
from shotwatch_common.promoted import download_pinned
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_common.settings import Settings
from shotwatch_shots.facility import Facility
from shotwatch_simulator.image_reader import SkippedFile

if TYPE_CHECKING:
    from shotwatch_benchmark.lasers import Laser
    from shotwatch_benchmark.results import BenchmarkResult


class Sizes(StrEnum):
    """The extent of a benchmark."""

    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A registered version and its network (TFLite)."""

    version: ModelVersion
    network: bytes


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
    model: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Measure the network of this registered version; log the figures in its run.",
        ),
    ] = None,
    unpinned: UnpinnedOption = False,
    facility: FacilityOption = FACILITY,
    name: NameOption = None,
    root: RootOption = ROOT,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Train a detector on normal shots, inject anomalies into later ones, and count how many it finds.

    Shots are made of recorded frames that are moved and get another energy and fresh noise. Anomalies are
    injected as their physical cause would act. Common baseline scores are measured on the same shots. Writes
    report.md, report.json and recall.png. Fails if an anomaly of severity zero can be distinguished from a
    normal shot.

    \b
    Examples:
      shotwatch benchmark
      shotwatch benchmark --frames recordings/beam --unseen recordings/other.pgm --size full
      shotwatch benchmark --model 3
    """
    chosen = None
    if model is not None:
        chosen = asyncio.run(_find(find_deployment(root, name).settings, model, unpinned))
    outcome, skipped = _measure(frames, unseen, load_facility(facility), size, seed, chosen)
    list_skipped(skipped)
    if chosen is not None:
        asyncio.run(_log(find_deployment(root, name).settings, chosen.version, outcome))
    from shotwatch_benchmark.report import tables, write_report

    write_report(outcome, out)
    if json:
        print_json(outcome.record() | skipped_record(skipped))
    else:
        for each in tables(outcome):
            stdout.print(table(each.title, each.columns, each.rows))
        stdout.print(f"written to {out}")
    if outcome.leaks:
        names = ", ".join(f"{row.scorer} on {row.anomaly}: {row.auroc.value:.3f}" for row in outcome.leaks)
        raise Failure(
            f"severity zero can be distinguished from normal, so the benchmark leaks: AUROC of {names}"
        )


async def _find(settings: Settings, version: str, unpinned: bool) -> _Chosen:
    async with ModelRegistry.of(settings) as registry, Archive.of(settings) as archive:
        found = await registry.find(version)
        if found is None:
            raise Failure(f"{registry.name} has no version {version}", "`shotwatch models list` shows them")
        try:
            files = await download_pinned(registry, archive.promotions, found, unpinned)
        except ValueError as error:
            raise Failure(f"version {version} cannot be measured: {error}") from error
        return _Chosen(found, files[NETWORK])


async def _log(settings: Settings, version: ModelVersion, outcome: "BenchmarkResult") -> None:
    async with ModelRegistry.of(settings) as registry:
        await registry.log(version, outcome.figures())


def _measure(
    frames: Path | None,
    unseen: Path | None,
    facility: Facility,
    size: Sizes,
    seed: int,
    chosen: _Chosen | None,
) -> tuple["BenchmarkResult", tuple[SkippedFile, ...]]:
    # Import here, because TensorFlow takes seconds to import and only this command needs it.
    from shotwatch_benchmark.protocol import SIZES, run_benchmark

    with counting() as bars:
        task = bars.add_task("reading frames", total=None)

        def report(doing: str, done: int, total: int) -> None:
            bars.update(task, description=doing, completed=done, total=total or None)

        laser, other = _laser(frames, "simulated", seed), _laser(unseen, "simulated, another", seed)
        network = None if chosen is None else chosen.network
        outcome = run_benchmark(laser, other, facility, SIZES[size.value], seed, report, network)
        return outcome, laser.skipped + other.skipped


def _laser(path: Path | None, otherwise: str, seed: int) -> "Laser":
    from shotwatch_benchmark.lasers import recorded_laser, simulated_laser

    try:
        return recorded_laser(path) if path else simulated_laser(otherwise, seed)
    except ValueError as error:
        raise Failure(str(error), "choose frames that show one beam") from error
