"""`shotwatch noise fit` and `shotwatch reference fit`: make the calibration constants of a camera."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure
from shotwatch_cli.frames import Counts, are_counts, counts_of, find_camera, recorded_frames
from shotwatch_cli.options import FromOption, JsonOption, ToOption
from shotwatch_cli.output import moment, report, stderr, table
from shotwatch_cli.skipped import list_skipped, skipped_record
from shotwatch_common.archive import Archive
from shotwatch_common.calibration_store import CalibrationStore, Period, store_constants
from shotwatch_common.clock import epoch_now
from shotwatch_common.facility_file import load_facility
from shotwatch_common.past_frames import CameraFrames, FrameReader
from shotwatch_common.store import ObjectStore
from shotwatch_physics.noise import NOISE_PROBABILITY, NoiseModel, fit_noise
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import CalibrationKind
from shotwatch_simulator.image_reader import SkippedFile

noise = typer.Typer(no_args_is_help=True, help="Noise models of cameras.")
reference = typer.Typer(no_args_is_help=True, help="References: the normal image of the beam on a camera.")

Made = tuple[bytes, dict[str, float]]
"""The bytes to put into the calibration store, and the figures to report about them."""
CameraArgument = Annotated[str, typer.Argument(help="Group name, such as LA_A1_11-Camera_1-Camera-1.")]
MostOption = Annotated[int, typer.Option("--most", min=10, help="Maximum number of frames.")]


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """A selection of frames of one camera."""

    device: str
    start: datetime | None
    end: datetime | None
    most: int
    dark: bool
    """Whether dark frames are wanted: these need not belong to shots that are known to be normal."""


@noise.command("fit")
def fit_noise_model(
    device: CameraArgument,
    frames: Annotated[
        list[Path] | None,
        typer.Option("--frames", exists=True, help="Dark images or folders of them, not recorded shots."),
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    most: MostOption = 50,
    probability: Annotated[
        float,
        typer.Option("--p", min=0, max=0.5, help="Probability that a dark pixel is taken for a lit one."),
    ] = NOISE_PROBABILITY,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Fit a normal distribution to each pixel of dark frames, and store it as the camera's noise model.

    Pixels whose value could be noise no longer count as light. New versions apply from the next shots on.

    \b
    Examples:
      shotwatch noise fit LA_A1_11-Camera_1-Camera-1 --from 2022-07-01T06:00 --to 2022-07-01T06:01
      shotwatch noise fit LA_A1_11-Camera_1-Camera-1 --frames recordings/dark
    """

    def make(camera: CameraFrames, _noise: NoiseModel | None) -> Made:
        model = fit_noise(camera.frames, probability)
        hot = int((model.mean > np.median(model.mean) + 6 * np.median(model.sigma)).sum())
        level, sigma = float(np.median(model.mean)), float(np.median(model.sigma))
        return model.to_npz(), {"level": level, "sigma": sigma, "hot_pixels": hot, "p": model.p}

    wanted = FrameSelection(device, start, end, most, dark=True)
    skipped: list[SkippedFile] = []
    try:
        recorded = _recorded(wanted, frames, skipped) if frames else None
    finally:
        list_skipped(skipped)
    fitting = _fit(find_deployment(root, name), wanted, CalibrationKind.NOISE, make, recorded)
    _report(*asyncio.run(fitting), json, skipped)


@reference.command("fit")
def fit_reference(
    device: CameraArgument,
    start: FromOption = None,
    end: ToOption = None,
    most: MostOption = 200,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Make a camera's reference from the normal shots of a span of time, and store it.

    The service `history` does this by itself once a day. Run it at once after an intended change of the beam.

    \b
    Example:
      shotwatch reference fit LA_A1_11-Camera_1-Camera-1 --from 2022-07-01T07:00 --to 2022-07-01T08:00
    """

    from shotwatch_physics.reference import make_reference  # Numba takes a second to import

    def make(camera: CameraFrames, noise: NoiseModel | None) -> Made:
        made = make_reference(camera.frames, noise)
        x, y = made.centroid.tolist()
        explained = float(made.components.explained.sum())
        return made.to_npz(), {"centroid_x": x, "centroid_y": y, "explained_by_two_components": explained}

    wanted = FrameSelection(device, start, end, most, dark=False)
    fitting = _fit(find_deployment(root, name), wanted, CalibrationKind.REFERENCE, make)
    _report(*asyncio.run(fitting), json)


async def _fit(
    deployment: Deployment,
    wanted: FrameSelection,
    kind: CalibrationKind,
    make: Callable[[CameraFrames, NoiseModel | None], Made],
    recorded: CameraFrames | None = None,
) -> tuple[CalibrationConstants, Mapping[str, float]]:
    settings = deployment.settings
    facility = load_facility(settings.facility)
    expected = find_camera(facility, wanted.device)
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        with stderr.status("reading frames"):
            camera = recorded or await _stored(
                expected, archive, FrameReader(archive, store, facility), wanted
            )
        calibration_store = CalibrationStore(archive, store, {CalibrationKind.NOISE: NoiseModel.from_npz})
        await calibration_store.poll()
        try:
            data, figures = make(camera, calibration_store.newest(wanted.device, CalibrationKind.NOISE))
        except ValueError as error:
            raise Failure(f"{wanted.device}: {error}", "choose other frames with --from and --to") from error
        period = Period(int(camera.times[0]), int(camera.times[-1]), len(camera.times))
        bucket = settings.data_bucket
        await archive.audit.note(f"fit_{kind}", wanted.device)
        made = await store_constants(archive, store, bucket, wanted.device, kind, data, period)
    return made, figures


def _recorded(wanted: FrameSelection, files: Sequence[Path], skipped: list[SkippedFile]) -> CameraFrames:
    """Return the frames of image files, with the current time as their time.

    Raises:
        Failure: no image can be read, one does not hold counts, or they have different shapes.
    """
    frames: list[Counts] = []
    for frame in recorded_frames(files, skipped):
        if not are_counts(frame.image):
            raise Failure(
                f"{frame.name}: noise takes whole counts from 0 to 65,535, and this has other values"
            )
        frames.append(counts_of(frame.image))
    if len({frame.shape for frame in frames}) > 1:
        raise Failure("the images are of different shapes")
    return CameraFrames(wanted.device, np.full(len(frames), epoch_now(), np.int64), np.stack(frames))


async def _stored(
    expected: ExpectedDevices, archive: Archive, frames: FrameReader, wanted: FrameSelection
) -> CameraFrames:
    of_place = ShotFilter(area=expected.place)
    start = epoch_ms(wanted.start) if wanted.start else 0
    end = epoch_ms(wanted.end) if wanted.end else None
    shots = [
        shot
        for shot in await archive.shots.spread(of_place, wanted.most, start, end)
        if wanted.dark or (shot.complete and not shot.verdict.kinds)
    ]
    cameras = await frames.read(shots, [wanted.device], refused_too=wanted.dark)
    if not cameras or not len(cameras[0].times):
        raise Failure(
            f"there are no frames of {wanted.device} in that time", "choose another time with --from and --to"
        )
    return cameras[0]


def _report(
    made: CalibrationConstants,
    figures: Mapping[str, float],
    json: bool,
    skipped: Sequence[SkippedFile] = (),
) -> None:
    record = {name: value for name, value in asdict(made).items() if name not in ("bucket", "key")}
    record |= {"kind": made.kind.value, **figures}
    shown = record | {name: moment(getattr(made, name)) for name in ("made_at", "start", "end")}
    rows = [(name, f"{value:.6g}" if isinstance(value, float) else value) for name, value in shown.items()]
    report(
        json,
        record | skipped_record(skipped),
        table(f"{record['kind']} of {made.device}", ("", "value"), rows),
    )
