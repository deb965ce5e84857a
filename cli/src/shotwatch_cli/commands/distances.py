"""`shotwatch distances`: distances between frames."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from shotwatch_cli.commands.pack import read_crop
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.distances import FrameComparison, heat_map
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.frames import RecordedFrame, find_camera, lights_of, recorded_frames, stored_frames
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import counting, report
from shotwatch_cli.skipped import list_skipped, skipped_record
from shotwatch_common.facility_file import load_facility
from shotwatch_physics.feature import FloatArray, Light
from shotwatch_physics.wasserstein import SLICES, distance_matrix, equispaced_angles, random_angles
from shotwatch_shots.pulses import epoch_ms
from shotwatch_simulator.image_reader import SkippedFile


def compare_frames(
    images: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, help="PNG, PGM, TIFF, NPY or MAT images, or folders of them."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Compare frames of this camera, from the running system."),
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    most: Annotated[
        int, typer.Option(min=2, help="With --device: maximum number of frames, spread evenly over the time.")
    ] = 50,
    slices: Annotated[int, typer.Option(min=1, help="Directions onto which light is projected.")] = SLICES,
    random: Annotated[
        bool,
        typer.Option("--random", help="Random directions, as the report has; else evenly spaced."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="With --random: the same seed, the same directions.")] = 0,
    crop: Annotated[
        str | None, typer.Option(metavar="TOP,LEFT,HEIGHT,WIDTH", help="Part of the frames to use, px.")
    ] = None,
    binning: Annotated[
        int, typer.Option("--bin", min=1, help="Combine N x N pixels into one.", metavar="N")
    ] = 1,
    out: Annotated[Path, typer.Option(dir_okay=False, help="NPY file for the matrix.")] = Path(
        "distances.npy"
    ),
    plot: Annotated[Path, typer.Option(dir_okay=False, help="PNG file for the matrix in colours.")] = Path(
        "distances.png"
    ),
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Compare frames with each other: how far light must be moved (px) to turn one frame into another.

    The distance is the sliced 1-Wasserstein distance between the distributions of the light; its total amount
    does not count. Noise is removed first. The command names the two nearest and the two farthest frames, and
    the one that is farthest from all others. A file can hold a stack of frames; colours become their
    luminance. Frames with saturated pixels, and files of a folder that were skipped, are listed.

    \b
    Examples:
      shotwatch distances recordings/beam --bin 5
      shotwatch distances --device LA_A1_11-Camera_1-Camera-1 --from 2022-07-01T07:00 --to 2022-07-01T08:00
    """
    skipped: list[SkippedFile] = []
    frames = _frames(images or [], skipped, device, (start, end), most, root, name)
    try:
        lights = lights_of(frames, None if crop is None else read_crop(crop), binning)
    finally:
        list_skipped(skipped)
    angles = random_angles(slices, seed) if random else equispaced_angles(slices)
    comparison = FrameComparison(lights.names, _distances(lights.light, angles), slices, lights.saturated)
    _write(comparison, out, plot)
    written = {"matrix": str(out), "plot": str(plot)}
    report(json, comparison.record() | written | skipped_record(skipped), comparison.shown())


def _frames(
    images: Sequence[Path],
    skipped: list[SkippedFile],
    device: str | None,
    span: tuple[datetime | None, datetime | None],
    most: int,
    root: Path,
    name: str | None,
) -> Iterable[RecordedFrame]:
    if images and device is None:
        return recorded_frames(images, skipped)
    start, end = span
    if images or device is None or start is None or end is None:
        raise Misuse("choose the frames", "name files or folders, or --device with --from and --to")
    if start >= end:
        raise Misuse("--from is not before --to")
    return asyncio.run(_stored(find_deployment(root, name), device, (epoch_ms(start), epoch_ms(end)), most))


async def _stored(
    deployment: Deployment, device: str, span: tuple[int, int], most: int
) -> list[RecordedFrame]:
    expected = find_camera(load_facility(deployment.settings.facility), device)
    with counting() as progress:
        task = progress.add_task("fetching frames", total=most)
        async with deployment.api() as api:
            stored = stored_frames(api, expected, device, span, most, lambda: progress.advance(task))
            return [frame async for frame in stored]


def _distances(lights: Light, angles: FloatArray) -> FloatArray:
    with counting() as progress:
        task = progress.add_task("comparing, slice by slice", total=len(angles))
        return distance_matrix(lights, angles, lambda slices: progress.advance(task, slices))


def _write(comparison: FrameComparison, out: Path, plot: Path) -> None:
    try:
        with out.open("wb") as file:
            np.save(file, comparison.distances)
        heat_map(comparison.distances).save(plot, "PNG")
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}") from error
