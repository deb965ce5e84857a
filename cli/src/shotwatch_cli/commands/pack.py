"""`shotwatch pack`: convert recorded images to snapshot files."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shotwatch_cli.failures import Failure, Misuse
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
from shotwatch_cli.skipped import list_skipped, skipped_record
from shotwatch_cli.snapshots import minutes_ago, write_all
from shotwatch_common.facility_file import load_facility
from shotwatch_simulator.packing import pack, plan_recorded
from shotwatch_simulator.recordings import Crop


def pack_frames(
    frames: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="Folder of PNG, PGM, TIFF, NPY or MAT images."),
    ],
    place: Annotated[str, typer.Option(help="The place to attribute them to, such as LA-A2.")],
    interval: IntervalOption = None,
    start: StartOption = None,
    learn: Annotated[float, typer.Option(min=0, help="Minutes of normal shots before the recording.")] = 10,
    repeat: Annotated[int, typer.Option(min=1, help="How often each recorded frame is shown.")] = 1,
    change_at: Annotated[
        str | None,
        typer.Option(help="Digits in the name of the first frame of another regime. Default: found."),
    ] = None,
    crop: Annotated[
        str | None, typer.Option(metavar="TOP,LEFT,HEIGHT,WIDTH", help="Part of the frames to use, px.")
    ] = None,
    seed: SeedOption = 0,
    out: OutOption = Path("snapshots"),
    facility: FacilityOption = FACILITY,
    json: JsonOption = False,
) -> None:
    """Turn recorded images into snapshot files of a place, and write labels.json beside them.

    The cameras of the place show the recorded frames with fresh noise; its other devices are simulated to
    match. The first files hold frames from before the recording's change of regime, in random order. Then the
    recording follows in its own order.

    A file can hold a stack of frames; of a MATLAB file the largest matrix is read. Colours become their
    luminance. A pixel is saturated if one of the recorded pixels in it is. Files without an image are skipped
    and listed.

    \b
    Examples:
      shotwatch pack recordings/beam --place LA-A2
      shotwatch pack recordings/beam --place LA-A2 --learn 5 --crop 100,200,408,512
    """
    known = load_facility(facility)
    all_expected = named_places(known, [place], interval)
    if len(all_expected) > 1:
        raise Misuse(f"{place} is recorded at several intervals", "choose one with --interval")
    learning = timedelta(minutes=learn)
    area = None if crop is None else read_crop(crop)
    try:
        packing = plan_recorded(
            frames,
            known,
            all_expected[0],
            start or minutes_ago(learning),
            learning,
            repeat=repeat,
            change_at=change_at,
            crop=area,
            seed=seed,
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    paths = (file.path for file in pack(packing, out))
    written = write_all(paths, len(packing.files), out, packing.labels)
    skipped = packing.recording.skipped
    list_skipped(skipped)
    report(json, written.record() | skipped_record(skipped), written.shown())


def read_crop(text: str) -> Crop:
    """Parse `TOP,LEFT,HEIGHT,WIDTH`.

    Raises:
        Misuse: the text has another form.
    """
    try:
        top, left, height, width = map(int, text.split(","))
    except ValueError as error:
        raise Misuse(f"--crop: {text!r} is not four whole numbers TOP,LEFT,HEIGHT,WIDTH") from error
    return top, left, height, width
