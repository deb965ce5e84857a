"""CPU time of all per-shot features of a 600-frame block, and of D4σ compared with laserbeamsize.

    OMP_NUM_THREADS=1 python -m tools.bench.features

Frames are simulated (an elliptical beam on 102 x 128 pixels, with noise and jitter) and, where
../shared/data/beams is present, recorded. laserbeamsize measures only centroid, D4σ and orientation, one
frame at a time; it gets 60 of the frames. The target is 0.6 s for all features of a block of 600 shots with a
frame, a spectrum and an energy each. Not included: reading the block, storing the features, and compilation
(numba, once, in the first run).
"""

import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import laserbeamsize
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shotwatch_physics.aperture import measure_spread
from shotwatch_physics.background import estimate_background
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.spectrum import measure_spectra

Images = NDArray[np.uint16]

FRAMES = 600
AT_ONCE = 20
MARK_MS = 600.0
PEER_FRAMES = 60
REPEATS = 7
SATURATED_AT = 4092
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "beams" / "regime_change_1hz"


def main() -> None:
    print_setup()
    random = np.random.default_rng(1)
    spectra = random.normal(100, 5, (FRAMES, 2047)).astype(np.float32)
    wavelengths = np.linspace(700, 900, 2047)
    first, second = random.normal(1, 0.02, (2, FRAMES))
    of_spectra = cpu_ms(lambda: measure_spectra(spectra, wavelengths))
    of_energies = cpu_ms(lambda: measure_energies(first, second))
    report(f"{FRAMES} spectra", of_spectra, FRAMES)
    report(f"{FRAMES} energies", of_energies, FRAMES)
    block("made frames", made_frames(), of_spectra + of_energies)
    if RECORDED.is_dir():
        block("recorded frames", recorded_frames(), of_spectra + of_energies)
    else:
        print(f"recorded frames: absent, no {RECORDED}")


def print_setup() -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "laserbeamsize"))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"Python {platform.python_version()}, {packages}")
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, "
        f"OMP_NUM_THREADS {threads}"
    )
    print(f"CPU time of the process, median of {REPEATS} runs")


def block(title: str, frames: Images, of_others: float) -> None:
    print(f"{title}, {frames.shape[1]} x {frames.shape[2]} uint16")
    beams = cpu_ms(lambda: measure_beams(frames, SATURATED_AT))
    report(f"  {FRAMES} frames, all beam features", beams, FRAMES)
    memory = peak_mib(lambda: measure_beams(frames, SATURATED_AT))
    print(f"  beside the frames, all beam features take at most {memory:.0f} MiB")
    verdict = "passed" if beams + of_others <= MARK_MS else "missed"
    print(f"  all features of {FRAMES} shots: {beams + of_others:.0f} ms (mark: {MARK_MS:.0f} ms, {verdict})")
    beside_peer(frames)


def beside_peer(frames: Images) -> None:
    """Compare the times for centroid, D4σ and orientation, including the estimate of the background."""
    ours = cpu_ms(lambda: [measure_d4sigma(part) for part in np.split(frames, FRAMES // AT_ONCE)])
    peer = cpu_ms(lambda: [laserbeamsize.beam_size(frame) for frame in frames[:PEER_FRAMES]])
    report(f"  {FRAMES} frames, D4σ alone", ours, FRAMES)
    report(f"  {PEER_FRAMES} frames, laserbeamsize", peer, PEER_FRAMES)
    print(f"  a frame costs laserbeamsize {peer / PEER_FRAMES / (ours / FRAMES):.1f} times as much")


def measure_d4sigma(frames: Images) -> NDArray[np.float64]:
    return measure_spread(frames, estimate_background(frames))


def report(title: str, milliseconds: float, count: int) -> None:
    print(f"{title}: {milliseconds:.2f} ms, {1000 * count / milliseconds:,.0f} per second")


def cpu_ms(work: Callable[[], object]) -> float:
    return median(_cpu_ms_once(work) for _ in range(REPEATS))


def _cpu_ms_once(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def peak_mib(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def made_frames() -> Images:
    random = np.random.default_rng(0)
    row, column = np.mgrid[:102, :128]
    x, y = random.normal([[60], [50]], 1, (2, FRAMES))[:, :, None, None]
    along, across = column - x + 0.4 * (row - y), row - y - 0.4 * (column - x)
    light = 2500 * np.exp(-(((along / 20) ** 2 + (across / 16) ** 2) ** 2) / 2)
    frames: NDArray[np.float64] = np.round(light + random.normal(30, 3, light.shape))
    return np.clip(frames, 0, SATURATED_AT).astype(np.uint16)


def recorded_frames() -> Images:
    """Return the recorded sequence, repeated, cropped and binned to 102 x 128 pixels of 12 bit."""
    files = sorted(RECORDED.glob("*.png"))
    counts = np.stack([np.asarray(Image.open(file))[:510, :640] for file in files]) / 16
    binned = np.round(counts.reshape(-1, 102, 5, 128, 5).mean(axis=(2, 4)))
    return np.resize(binned, (FRAMES, 102, 128)).astype(np.uint16)


if __name__ == "__main__":
    main()
