"""Sliced 1-Wasserstein distances between 50 frames of 60 x 60 in 3,000 slices, compared with POT.

    python -m tools.bench.distances

The report took 640 core-hours for this. The frames are simulated: a flat-topped beam that moves, changes its
size and sometimes has a hot spot. POT computes a part of the same pairs and slices, alternating with our
code, and its time is scaled up to all of them. The time includes everything from frames to distances, except
the first calls of the kernels. These are timed separately: with a new folder as NUMBA_CACHE_DIR they compile,
otherwise they load the compiled code. The script also measures how far a few equispaced slices are from the
truth, compared with many random ones, and what it costs to compare one frame of a camera with its reference.
"""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from statistics import median

import numba
import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.wasserstein import (
    Slices,
    distance_matrix,
    distances_to,
    equispaced_angles,
    make_slices,
    random_angles,
)

os.environ["POT_BACKEND_DISABLE_TENSORFLOW"] = "1"  # POT would import it and not use it

import ot

FRAMES, SIDE, SLICES = 50, 60, 3000
PAIRS = FRAMES * (FRAMES - 1) // 2
POT_PAIRS, POT_SLICES = 10, 100
REPEATS = 5
MARK_S = 5.0

FEW_SLICES, TRUE_SLICES = 64, 20_000
CAMERA, CAMERA_FRAMES, CAMERA_SLICES = (102, 128), 600, 32

Floats = NDArray[np.float64]
Seconds = tuple[float, float]
"""Wall time and CPU time."""


def main() -> None:
    print_setup()
    frames, angles = made_frames(FRAMES, (SIDE, SIDE)), random_angles(SLICES, 0)
    slices = make_slices(CAMERA, equispaced_angles(CAMERA_SLICES))
    blank = np.ones((2, *CAMERA))
    first = [
        seconds(lambda: distance_matrix(blank, angles[:2]))[0],
        seconds(lambda: distances_to(blank[0], blank, slices))[0],
    ]
    print(f"first calls, compiling or loading: matrix {first[0]:.1f} s, to a reference {first[1]:.1f} s")
    compare_with_pot(frames, angles)
    compare_slices(frames[:: FRAMES // 10])
    measure_camera(slices)


def compare_with_pot(frames: Floats, angles: Floats) -> None:
    """Print the median times of the matrix on one thread and on all, and those of POT."""
    threads = numba.get_num_threads()
    ways = {f"{n} thread{'s' * (n > 1)}": matrix_on(n, frames, angles) for n in sorted({1, threads})}
    spent = in_turns({**ways, "POT": pot_share(frames, angles[:POT_SLICES])})
    print(f"{PAIRS} pairs x {SLICES} random slices of {SIDE} x {SIDE}, median of {REPEATS} turns")
    for way in ways:
        wall, cpu = spent[way]
        print(f"  {way}: {wall:.2f} s, CPU {cpu:.2f} s (mark: {MARK_S:g} s at most on 2 cores)")
    scale = PAIRS / POT_PAIRS * SLICES / POT_SLICES
    cpu = spent["POT"][1] * scale
    print(f"  POT: CPU {cpu:.0f} s, scaled up from {POT_PAIRS} pairs x {POT_SLICES} slices")
    print(f"  POT / ours on one thread, CPU = {cpu / spent['1 thread'][1]:.0f}")


def matrix_on(threads: int, frames: Floats, angles: Floats) -> Callable[[], object]:
    def run() -> None:
        numba.set_num_threads(threads)
        distance_matrix(frames, angles)

    return run


def pot_share(frames: Floats, angles: Floats) -> Callable[[], object]:
    """Return a function that computes some of the pairs with POT, in slices of the given directions."""
    pixels = np.indices((SIDE, SIDE))[::-1].reshape(2, -1).T.astype(np.float64)
    masses = [frame.ravel() / frame.sum() for frame in frames]
    directions = np.stack([np.cos(angles), np.sin(angles)])

    def run() -> None:
        for one, other in pairwise(masses[: POT_PAIRS + 1]):
            ot.sliced_wasserstein_distance(pixels, pixels, one, other, projections=directions, p=1)

    return run


def compare_slices(frames: Floats) -> None:
    """Print how far two choices of slices are from a very large number of slices."""
    true = distance_matrix(frames, equispaced_angles(TRUE_SLICES))
    apart = true > 0
    print(
        f"relative error against {TRUE_SLICES} equispaced slices, {apart.sum() // 2} pairs, rms and largest"
    )
    choices = {
        f"{FEW_SLICES} equispaced": equispaced_angles(FEW_SLICES),
        f"{SLICES} random": random_angles(SLICES, 0),
    }
    for choice, angles in choices.items():
        error = np.abs(distance_matrix(frames, angles)[apart] / true[apart] - 1)
        print(f"  {choice}: {np.sqrt((error**2).mean()):.1e}, {error.max():.1e}")


def measure_camera(slices: Slices) -> None:
    """Print the cost of comparing a frame with its reference, as part of a block and alone."""
    frames = np.round(4000 * made_frames(CAMERA_FRAMES, CAMERA)).astype(np.uint16)
    reference = frames.mean(axis=0)
    spent = in_turns(
        {
            "block": lambda: distances_to(reference, frames, slices),
            "alone": lambda: distances_to(reference, frames[:1], slices),
        }
    )
    shape = " x ".join(map(str, CAMERA))
    print(f"{shape} to a reference in {CAMERA_SLICES} slices, CPU on one core, median of {REPEATS} turns")
    print(f"  in a block of {CAMERA_FRAMES}: {1000 * spent['block'][1] / CAMERA_FRAMES:.2f} ms a frame")
    print(f"  alone: {1000 * spent['alone'][1]:.2f} ms")


def in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, Seconds]:
    """Return the median times of each implementation. The implementations run alternately."""
    spent: dict[str, list[Seconds]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, run in ways.items():
            spent[way].append(seconds(run))
    return {
        way: (median(wall for wall, _ in times), median(cpu for _, cpu in times))
        for way, times in spent.items()
    }


def seconds(run: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def made_frames(count: int, shape: tuple[int, int]) -> Floats:
    """Return the light of a flat-topped beam with peak 1, (count, *shape)."""
    random = np.random.default_rng(1)
    y, x = np.indices(shape) / min(shape)
    frames = []
    for n in range(count):
        dx, dy = random.normal(0.5, 0.01, 2) * shape[::-1] / min(shape)
        size = random.normal(0.25, 0.01)
        beam = np.exp(-((np.hypot(x - dx, y - dy) / size) ** 6))
        spot = 0.3 * (n % 7 == 0) * np.exp(-((np.hypot(x - dx - 0.1, y - dy) / 0.03) ** 2))
        frames.append(np.clip(0.8 * beam + spot + random.normal(0, 0.01, shape) * np.sqrt(beam), 0, 1))
    return np.array(frames)


def print_setup() -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "POT"))
    print(f"Python {platform.python_version()}, {packages}")
    print(f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}")
    print(f"numba: {numba.get_num_threads()} threads")


if __name__ == "__main__":
    main()
