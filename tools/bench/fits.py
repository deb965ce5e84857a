"""Three-Gaussian fits per second, compared with scipy's curve_fit on the same frames in one run.

    OMP_NUM_THREADS=1 python -m tools.bench.fits

Frames are recorded where ../shared/data/beams is present, otherwise simulated (a rotated flat-topped beam
with noise and jitter). They have 102 x 128 pixels, with the background subtracted; 45 x 55 crops of them are
fitted too. Warm: a block of 600 frames (the sequence, repeated), where each fit starts from the previous one;
the cold starts of the first frame are included. Cold: each frame alone, from all of our cold starts.
curve_fit (numerical derivatives) starts warm from its own previous fit, and cold from only one of our cold
starts. It runs without bounds ("lm", as in the report) and within our bounds ("trf"). Without bounds it may
fit more closely by negative amplitudes, which our model does not allow. Our fit counts as being as close
where its Σ (frame - model)² is lower, or equal within 1e-6. Not included: subtracting the background, and
cropping.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import curve_fit

from shotwatch_physics.background import estimate_background
from shotwatch_physics.gaussian_search import bounds
from shotwatch_physics.gaussians import cold_starts, crop, fit_gaussians

Light = NDArray[np.float32]
Floats = NDArray[np.float64]

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "beams" / "regime_change_1hz"
FRAMES = 600
PEER_FRAMES = 20
REPEATS = 5
METHODS = ("lm", "trf")
PEER_START = 1
"""Cold start for curve_fit: two Gaussians beside a wide one. From start 0 it gives up on recorded frames."""
TOLERANCE = 1e-6
MARK = 10.0


@dataclass(frozen=True, slots=True)
class TimedFits:
    """Fits of the same frames: CPU time per fit (ms), and Σ (frame - model)² of each (infinite: no fit)."""

    milliseconds: float
    squares: Floats


def main() -> None:
    print_setup()
    recorded = RECORDED.is_dir()
    light = freed_of_background(recorded_frames() if recorded else made_frames())
    print(f"{'recorded' if recorded else 'made'} frames; {PEER_FRAMES} of them for curve_fit")
    beside_peer("full frames, 102 x 128", light)
    beside_peer("crops, 45 x 55", crop(light)[0])


def print_setup() -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"Python {platform.python_version()}, {packages}")
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, "
        f"OMP_NUM_THREADS {threads}"
    )
    print(f"CPU time of the process; of ours the median of {REPEATS} runs after one that compiles")


def beside_peer(title: str, light: Light) -> None:
    few = light[:PEER_FRAMES]
    print(title)
    compare("warm", ours_warm(light), {method: peer_warm(few, method) for method in METHODS})
    compare("cold", ours_cold(few), {method: peer_cold(few, method) for method in METHODS})


def compare(title: str, ours: TimedFits, peers: dict[str, TimedFits]) -> None:
    print(f"  {title}: ours {ours.milliseconds:.2f} ms a fit, {1000 / ours.milliseconds:,.0f} per second")
    for method, peer in peers.items():
        as_close = ours.squares[: len(peer.squares)] <= peer.squares * (1 + TOLERANCE)
        ratio = peer.milliseconds / ours.milliseconds
        print(
            f"    curve_fit, {method}: {peer.milliseconds:.1f} ms, gave up on {np.isinf(peer.squares).sum()}"
        )
        print(f"      curve_fit / ours = {ratio:.0f} (mark: {MARK:g}); ours as close: {as_close.mean():.0%}")


def ours_warm(light: Light) -> TimedFits:
    return TimedFits(
        cpu_ms(lambda: fit_gaussians(light)) / len(light), squares(light, fit_gaussians(light).parameters)
    )


def ours_cold(light: Light) -> TimedFits:
    def fit_each() -> Floats:
        return np.concatenate([fit_gaussians(frame[None]).parameters for frame in light])

    return TimedFits(cpu_ms(fit_each) / len(light), squares(light, fit_each()))


def peer_warm(light: Light, method: str) -> TimedFits:
    """Fit the frames after the first, whose fit only provides the start values."""
    start = by_curve_fit(light[0], first_start(light[0]), method)
    fits = [start]
    begun = time.process_time()
    for frame in light[1:]:
        fits.append(by_curve_fit(frame, start, method))
        start = fits[-1] if np.isfinite(fits[-1]).all() else first_start(frame)
    spent = 1000 * (time.process_time() - begun)
    return TimedFits(spent / (len(light) - 1), squares(light, np.array(fits)))


def peer_cold(light: Light, method: str) -> TimedFits:
    begun = time.process_time()
    fits = [by_curve_fit(frame, first_start(frame), method) for frame in light]
    spent = 1000 * (time.process_time() - begun)
    return TimedFits(spent / len(light), squares(light, np.array(fits)))


def first_start(frame: NDArray[np.float32]) -> Floats:
    start: Floats = cold_starts(frame.astype(np.float64), np.zeros(2))[PEER_START]
    return start


def by_curve_fit(frame: NDArray[np.float32], start: Floats, method: str) -> Floats:
    """Return the parameters (15,) of scipy's fit, infinite if scipy gives up."""
    row, column = (axis.ravel().astype(np.float64) for axis in np.indices(frame.shape))

    def model(_: Floats, *parameters: float) -> Floats:
        return gaussians(parameters, row, column)

    height, width = frame.shape
    light = frame.ravel().astype(np.float64)
    limits = {} if method == "lm" else {"bounds": bounds(height, width, np.zeros(2)), "x_scale": start}
    try:
        found: Floats = curve_fit(model, column, light, start, method=method, **limits)[0]
    except RuntimeError:
        return np.full(15, np.inf)
    return found


def gaussians(parameters: Sequence[float] | Floats, row: Floats, column: Floats) -> Floats:
    image = np.zeros_like(row)
    for k in range(0, 15, 5):
        amplitude, x, y, sigma_x, sigma_y = parameters[k : k + 5]
        image += amplitude * np.exp(-(((column - x) / sigma_x) ** 2) / 2 - ((row - y) / sigma_y) ** 2 / 2)
    return image


def squares(light: Light, fits: Floats) -> Floats:
    """Return Σ (frame - model)² (n,), infinite where the fit is not finite."""
    row, column = (np.asarray(axis, np.float64) for axis in np.indices(light.shape[1:]))
    return np.array(
        [
            ((frame - gaussians(fit, row, column)) ** 2).sum() if np.isfinite(fit).all() else np.inf
            for frame, fit in zip(light, fits, strict=True)
        ]
    )


def cpu_ms(work: Callable[[], object]) -> float:
    work()
    return median(_cpu_ms_once(work) for _ in range(REPEATS))


def _cpu_ms_once(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def freed_of_background(frames: NDArray[np.uint16]) -> Light:
    background = estimate_background(frames)
    lit = frames > background.faintest_light[:, None, None]
    return np.where(lit, frames - background.level[:, None, None], 0).astype(np.float32)


def recorded_frames() -> NDArray[np.uint16]:
    """Return the recorded sequence, repeated, cropped and binned to 102 x 128 pixels of 12 bit."""
    files = sorted(RECORDED.glob("*.png"))
    counts = np.stack([np.asarray(Image.open(file))[:510, :640] for file in files]) / 16
    binned = np.round(counts.reshape(-1, 102, 5, 128, 5).mean(axis=(2, 4)))
    return np.resize(binned, (FRAMES, 102, 128)).astype(np.uint16)


def made_frames() -> NDArray[np.uint16]:
    random = np.random.default_rng(0)
    row, column = np.mgrid[:102, :128]
    x, y = random.normal([[60], [50]], 1, (2, FRAMES))[:, :, None, None]
    along, across = column - x + 0.4 * (row - y), row - y - 0.4 * (column - x)
    light = 2500 * np.exp(-(((along / 20) ** 2 + (across / 16) ** 2) ** 2) / 2)
    frames: Floats = np.round(light + random.normal(30, 3, light.shape))
    return np.clip(frames, 0, 4092).astype(np.uint16)


if __name__ == "__main__":
    main()
