"""`shotwatch export`: shots and frames as files for other tools."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from shotwatch_cli.deployment import ROOT, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import FromOption, ToOption
from shotwatch_cli.output import stderr
from shotwatch_cli.rest import Parameter

ShotArgument = Annotated[str, typer.Argument(metavar="SHOT", help="Id of the shot.")]
FileOption = Annotated[Path, typer.Option("--out", dir_okay=False, help="The file.")]

export = typer.Typer(no_args_is_help=True, help="Shots and frames as files for other tools.")

_TIMEOUT_S = 180.0
"""Longer than the server takes: it gives a file up after two minutes."""
_FORMATS = {".csv": "csv", ".h5": "hdf5", ".hdf5": "hdf5", ".npz": "npz", ".tif": "tiff", ".tiff": "tiff"}


@export.command("nexus")
def export_nexus(
    shot: ShotArgument,
    out: FileOption,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this device of the shot; repeat for more.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
) -> None:
    """Write a shot as a NeXus file: beam, frames, spectra and features.

    \b
    Example:
      shotwatch export nexus LA-A1-11-100ms-20220701T073300.100 --out shot.nxs
    """
    _save(root, name, f"/shots/{quote(shot, safe='')}/nexus", {"device": device or []}, out)


@export.command("lasy")
def export_pulse(
    shot: ShotArgument,
    out: FileOption,
    pixel_um: Annotated[float, typer.Option(help="Size of a pixel in the plane of the beam, in µm.")],
    first_nm: Annotated[
        float | None,
        typer.Option(help="Wavelength of the spectrum's first sample, unless the facility file has it."),
    ] = None,
    last_nm: Annotated[float | None, typer.Option(help="Wavelength of its last sample.")] = None,
    camera: Annotated[str | None, typer.Option(help="By default the first valid one of the shot.")] = None,
    spectrometer: Annotated[str | None, typer.Option(help="By default the first valid one.")] = None,
    meter: Annotated[str | None, typer.Option(help="By default the first valid one.")] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
) -> None:
    """Write a shot as an openPMD file for simulations, with the energy, the near field and the spectrum.

    The phase is flat, because it was not measured.

    \b
    Example:
      shotwatch export lasy SHOT --pixel-um 50 --first-nm 760 --last-nm 860 --out pulse.h5
    """
    given: dict[str, Parameter] = {
        "pixel_um": pixel_um,
        "first_nm": first_nm,
        "last_nm": last_nm,
        "camera": camera,
        "spectrometer": spectrometer,
        "meter": meter,
    }
    asked = {each: value for each, value in given.items() if value is not None}
    _save(root, name, f"/shots/{quote(shot, safe='')}/lasy", asked, out)


@export.command("frames")
def export_frames(
    device: Annotated[str, typer.Argument(metavar="CAMERA", help="Name of the camera.")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="A .tiff, .csv, .h5 or .npz file.")],
    start: FromOption = None,
    end: ToOption = None,
    shots: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many shots.")] = 100,
    kind: Annotated[str | None, typer.Option(help="Only shots with an anomaly of this kind.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only shots scored this high or higher.")] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
) -> None:
    """Write the valid frames of a camera in the newest shots of a span of at most a day.

    \b
    Example:
      shotwatch export frames LA_A1_11-Camera_1-Camera-1 --kind hot_spot --out spots.tiff
    """
    if out.suffix.lower() not in _FORMATS:
        raise Misuse(f"{out} has none of the suffixes {', '.join(_FORMATS)}", "name the file so")
    span = {"from": start, "to": end}
    asked: dict[str, Parameter] = {
        "format": _FORMATS[out.suffix.lower()],
        "shots": shots,
        **{which: time.isoformat() for which, time in span.items() if time is not None},
        **{
            which: value
            for which, value in {"kind": kind, "min_score": min_score}.items()
            if value is not None
        },
    }
    _save(root, name, f"/devices/{quote(device, safe='')}/frames", asked, out)


def _save(root: Path, name: str | None, path: str, asked: Mapping[str, Parameter], out: Path) -> None:
    data = asyncio.run(_fetch(root, name, path, asked))
    try:
        out.write_bytes(data)
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    stderr.print(f"{len(data)} bytes in {out}")


async def _fetch(root: Path, name: str | None, path: str, asked: Mapping[str, Parameter]) -> bytes:
    async with find_deployment(root, name).api(_TIMEOUT_S) as api:
        return (await api.get_response(path, **asked)).content
