"""Beam widths of recorded and simulated frames, compared with laserbeamsize and the truth (docs/beam.md).

    OMP_NUM_THREADS=1 python -m tools.bench.beams                     # print the tables
    OMP_NUM_THREADS=1 python -m tools.bench.beams --pictures docs/beam  # also draw the frames that disagree

Recorded frames are those of ../shared/data/beams, binned to 102 x 128 px and scaled to a peak of 2987 counts
(0.73 of a 12-bit camera). laserbeamsize measures in its ISO mode, and without it for frames in which that
mode finds no widths.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import laserbeamsize
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.background import estimate_background
from shotwatch_physics.beam import measure_beams
from shotwatch_simulator.image_reader import read_images
from shotwatch_simulator.recordings import bin_windows

Frame = NDArray[np.uint16]
Floats = NDArray[np.float64]

BEAMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "beams"
FOLDERS = ("lab_modes", "injector_laser", "regime_change_1hz")
SUFFIXES = (".png", ".pgm", ".npy", ".mat")
SHAPE = (102, 128)
PEAK = 2987
SATURATED_AT = 4092
AGREEMENT = 0.02
SHOTS = 40
PANEL_COUNTS = 120
"""Range of the pictures above the darkest pixel, in counts: faint light decides the widths."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Centre (px) and D4σ (px) along the major and the minor axis. The angle is counter-clockwise (rad)."""

    x: float
    y: float
    major: float
    minor: float
    angle: float

    def __str__(self) -> str:
        return f"{self.major:.1f} x {self.minor:.1f}" if np.isfinite(self.minor) else "none"


@dataclass(frozen=True, slots=True)
class Compared:
    """A recorded frame and the widths that both programs measure on it."""

    name: str
    frame: Frame
    ours: Widths
    iso: Widths
    plain: Widths

    @property
    def peer(self) -> Widths:
        return self.iso if np.isfinite(self.iso.minor) else self.plain

    @property
    def disagreement(self) -> float:
        """Largest relative difference of a width from the one that laserbeamsize measures."""
        major, minor = self.ours.major / self.peer.major - 1, self.ours.minor / self.peer.minor - 1
        return major if abs(major) > abs(minor) else minor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of the frames that disagree")
    arguments = parser.parse_args()
    print(
        f"`python -m tools.bench.beams`, laserbeamsize {version('laserbeamsize')}, numpy {version('numpy')}\n"
    )
    print_made()
    if not BEAMS.is_dir():
        sys.exit(f"recorded frames are absent: no {BEAMS}")
    compared = [compare(file) for file in recorded_files()]
    print_recorded(compared)
    if arguments.pictures:
        for frame in compared:
            if abs(frame.disagreement) > AGREEMENT:
                draw(frame, arguments.pictures / f"{Path(frame.name).stem}.png")


def recorded_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(file for file in (BEAMS / folder).iterdir() if file.suffix in SUFFIXES)


def compare(file: Path) -> Compared:
    light = bin_windows(read_images(file)[0], SHAPE, None, 0)[0]
    frame = np.round(light / light.max() * PEAK).astype(np.uint16)
    return Compared(file.name, frame, ours(frame), peer(frame, iso=True), peer(frame, iso=False))


def ours(frame: Frame) -> Widths:
    names = ("centroid_x", "centroid_y", "d4sigma_major", "d4sigma_minor", "orientation")
    features = measure_beams(frame[None], SATURATED_AT)
    return Widths(*(float(features[name][0]) for name in names))


def peer(frame: Frame, *, iso: bool) -> Widths:
    x, y, major, minor, angle = laserbeamsize.beam_size(frame, iso_noise=iso)
    return Widths(x, y, major, np.nan if minor is None else minor, angle)


def print_recorded(compared: list[Compared]) -> None:
    print("| frame | D4σ (px) | laserbeamsize, ISO | without ISO | difference |")
    print("|---|---|---|---|---|")
    for frame in compared:
        difference = f"{100 * frame.disagreement:+.1f} %"
        print(f"| {frame.name} | {frame.ours} | {frame.iso} | {frame.plain} | {difference} |")
    print()


def print_made() -> None:
    """Print simulated frames of known truth: a peak of 2,500 counts on 50, with noise of 1 count."""
    print("| made frame | true D4σ (px) | measured, mean of 40 shots | error | shot to shot |")
    print("|---|---|---|---|---|")
    for name, light, stray, truth in made():
        random = np.random.default_rng(1)
        counts = light + stray + 50 + random.normal(0, 1, (SHOTS, *SHAPE))
        features = measure_beams(np.clip(np.round(counts), 0, SATURATED_AT).astype(np.uint16), SATURATED_AT)
        major, minor = features["d4sigma_major"], features["d4sigma_minor"]
        errors = 100 * (major.mean() / truth[0] - 1), 100 * (minor.mean() / truth[1] - 1)
        print(
            f"| {name} | {truth[0]:.1f} x {truth[1]:.1f} | {major.mean():.1f} x {minor.mean():.1f} "
            f"| {errors[0]:+.1f} %, {errors[1]:+.1f} % | {100 * major.std() / truth[0]:.1f} % |"
        )
    print()


def made() -> Iterator[tuple[str, Floats, Floats, tuple[float, float]]]:
    """Yield the name, the light, the stray light, and the D4σ of the light without the stray light."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    none = np.zeros(SHAPE)
    middle = (column - 64) ** 2 + (row - 51) ** 2
    for sigma in (1.5, 3, 6, 10, 15, 20, 25, 30):
        yield f"σ {sigma} px", gaussian(sigma, sigma), none, (4 * sigma, 4 * sigma)
    for rise in (64, 250, 1000):
        yield f"slope of {rise} counts", gaussian(6, 6), rise * column / SHAPE[1], (24, 24)
    yield "slope of 64 counts, σ 14 px", gaussian(14, 14), 64 * column / SHAPE[1], (56, 56)
    for height in (32, 128):
        yield f"bump of {height} counts, σ 60 px", gaussian(6, 6), height * np.exp(-middle / 7200), (24, 24)
    yield "bump of 32 counts, beam of σ 8 px", gaussian(8, 8), 32 * np.exp(-middle / 7200), (32, 32)
    yield "bump of 32 counts, σ 25 px", gaussian(6, 6), 32 * np.exp(-middle / 1250), (24, 24)
    for pedestal in (0, 1000):
        yield f"pedestal of {pedestal} counts", gaussian(6, 6), none + pedestal - 50, (24, 24)
    for tilt in (15, 30, 45):
        yield f"turned by {tilt}°", gaussian(12, 5, np.radians(tilt)), none, (48, 20)
    for name, light in (
        ("clipped by the edge through its middle", gaussian(6, 6, x=0)),
        ("half cut off within the frame", np.where(column < 64, gaussian(12, 12), 0)),
        ("two beams 40 px apart", gaussian(3, 3, x=44) + gaussian(3, 3, x=84)),
        ("two beams 50 px apart, 10 : 1", gaussian(5, 5, x=39) + gaussian(5, 5, x=89) / 10),
    ):
        yield name, light, none, widths_of(light)
    hot = none.copy()
    hot[5, 120] = 4000
    yield "hot pixel far from σ 2 px", gaussian(2, 2), hot, (8, 8)


def gaussian(major: float, minor: float, angle: float = 0.0, x: float = 64.3, y: float = 50.8) -> Floats:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = (column - x) * np.cos(angle) + (row - y) * np.sin(angle)
    across = (row - y) * np.cos(angle) - (column - x) * np.sin(angle)
    light: Floats = 2500 * np.exp(-((along / major) ** 2 + (across / minor) ** 2) / 2)
    return light


def widths_of(light: Floats) -> tuple[float, float]:
    """Return D4σ of noiseless light along its principal axes."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    covariance = np.cov(np.stack([column.ravel(), row.ravel()]), aweights=light.ravel(), ddof=0)
    minor, major = np.linalg.eigvalsh(covariance)
    return 4 * np.sqrt(major), 4 * np.sqrt(minor)


def draw(compared: Compared, file: Path) -> None:
    """Draw the faint part of a frame with both ellipses, and the beam's row with both backgrounds."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # after the backend is chosen
    from matplotlib.patches import Ellipse

    frame, lowest = compared.frame, int(np.percentile(compared.frame, 1))
    level, _ = laserbeamsize.iso_background(frame)
    plane = np.broadcast_to(estimate_background(frame[None]).plane(*SHAPE)[0], SHAPE)
    row = round(compared.ours.y)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.imshow(frame, cmap="gray", vmin=lowest, vmax=lowest + PANEL_COUNTS)
    for widths, colour, label in (
        (compared.ours, "tab:green", "shotwatch"),
        (compared.peer, "tab:red", "laserbeamsize"),
    ):
        centre, angle = (widths.x, widths.y), -np.degrees(widths.angle)
        left.add_patch(
            Ellipse(centre, widths.major, widths.minor, angle=angle, fill=False, color=colour, label=label)
        )
    left.set_title(f"{compared.name}: D4σ ellipses", fontsize=9)
    left.legend(fontsize=7, loc="upper right")
    right.plot(frame[row], color="black", linewidth=0.8, label=f"row {row}")
    right.plot(plane[row], color="tab:green", label="plane of shotwatch")
    right.axhline(level, color="tab:red", label="level of laserbeamsize")
    right.set_ylim(lowest - 10, lowest + PANEL_COUNTS)
    right.set_xlabel("column (px)", fontsize=8)
    right.set_title("counts, cut off above", fontsize=9)
    right.legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
