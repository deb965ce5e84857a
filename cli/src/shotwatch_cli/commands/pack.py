"""`shotwatch pack`: recorded images as snapshot files."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from shotwatch_common.facility import load_facility
from shotwatch_simulator.packing import Packing, pack, plan_recorded
from shotwatch_simulator.recordings import Crop

from shotwatch_cli.failures import Failure
from shotwatch_cli.options import FACILITY, FacilityOption, JsonOption, OutOption, SeedOption, StartOption
from shotwatch_cli.output import print_json, stderr, stdout
from shotwatch_cli.places import named_rosters
from shotwatch_cli.snapshots import minutes_ago, write_all


def pack_frames(
    frames: Annotated[Path, typer.Argument(file_okay=False, help="Folder of PNG, PGM, TIFF, NPY or MAT images.")],
    place: Annotated[str, typer.Option(help="Where they are said to be from, such as LA-A2.")],
    start: StartOption = None,
    learn: Annotated[float, typer.Option(min=0, help="Minutes of normal shots before the recording.")] = 10,
    repeat: Annotated[int, typer.Option(min=1, help="How often each recorded frame is shown.")] = 1,
    change_at: Annotated[
        str | None, typer.Option(help="Digits in the name of the first frame of another regime. Default: found.")
    ] = None,
    crop: Annotated[str | None, typer.Option(metavar="TOP,LEFT,HEIGHT,WIDTH", help="Part to use, px.")] = None,
    seed: SeedOption = 0,
    out: OutOption = Path("snapshots"),
    facility: FacilityOption = FACILITY,
    json: JsonOption = False,
) -> None:
    """Turn recorded images into snapshot files of a place, and write labels.json beside them.

    The place's cameras show the recorded frames with fresh noise; its other devices are simulated to match.
    First come --learn minutes of frames from before the regime changes, then the recording as it was.

    Examples:

        shotwatch pack recordings/beam --place LA-A2 --learn 10

        shotwatch pack recordings/beam --place LA-A2 --crop 100,200,408,512 --change-at 15:26:53
    """
    known = load_facility(facility)
    [roster] = named_rosters(known, [place], None)
    ...
