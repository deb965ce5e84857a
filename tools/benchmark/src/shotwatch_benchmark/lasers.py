"""The lasers that shots are made of: native frames, binned at every whole-pixel shift, and their mean.

A frame is never interpolated, because smoothed noise would reveal the shift: it is moved by whole native
pixels before it is binned. Its own noise stays in it, in normal and anomalous shots alike. Only defocus needs
a frame without noise. It uses the difference between the blurred and the sharp mean of all frames, to which
one frame contributes its noise only by its share of that mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from shotwatch_shots.pulses import Times
from shotwatch_simulator import frames as simulated
from shotwatch_simulator.image_reader import SkippedFile
from shotwatch_simulator.images import Picture
from shotwatch_simulator.noise import Floats, Images
from shotwatch_simulator.recordings import change_of_regime, load_recording

SHAPE = (102, 128)
"""Height and width of a camera's frame (px)."""
LIMIT = 4092
"""The highest count of a camera."""
PEAK_SHARE = 0.7
"""The peak of the mean frame over `LIMIT`: a hot spot must not saturate."""
REACH = 3.0
"""No shot is moved further than this, in px."""
LEARNING_SHARE = 2 / 3
"""The first frames are for learning, the later ones for the test."""

SIMULATED_FRAMES = 42
SIMULATED_SHAPE = (540, 720)
SIMULATED_LIMIT = 1023


@dataclass(frozen=True, slots=True, eq=False)
class Laser:
    """The normal frames of one laser, as one camera recorded them."""

    name: str
    origin: str
    """Origin of the frames, as text for people."""
    factor: int
    """Side of a binned pixel, in native pixels."""
    sums: Images
    """Light (counts of the camera) on the binned pixel that begins at each native pixel: (frames, H, W)."""
    sharp: Floats
    """The mean of all frames in native pixels: light per native pixel."""
    mean: Images
    """The mean frame, binned and not moved: (h, w)."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files of the folder that hold no image."""

    @property
    def learning(self) -> NDArray[np.intp]:
        """The frames to learn from; a laser with a single frame uses it for learning and for the test."""
        return np.arange(max(1, int(len(self.sums) * LEARNING_SHARE)))

    @property
    def test(self) -> NDArray[np.intp]:
        """The later frames."""
        return np.arange(int(len(self.sums) * LEARNING_SHARE), len(self.sums))

    def light(self, frames: NDArray[np.intp], shifts: NDArray[np.intp]) -> Images:
        """Return frames moved by (down, right) native pixels, (n, 2), and binned: (n, h, w)."""
        moved = zip(frames.tolist(), shifts.tolist(), strict=True)
        return np.stack([window(self.sums[frame], self.factor, *shift) for frame, shift in moved])

    def defocus(self, sigma: float, shifts: NDArray[np.intp]) -> Images:
        """Return how a Gaussian blur of `sigma` (px) changes the light, moved and binned: (n, h, w)."""
        change = box_sums(gaussian_filter(self.sharp, sigma * self.factor) - self.sharp, self.factor)
        return np.stack([window(change, self.factor, *shift) for shift in shifts.tolist()])


def recorded_laser(path: Path) -> Laser:
    """Read a laser from the recorded frames of a folder or a file, up to the change of their regime.

    Raises:
        ValueError: there is no image, one is too small, or they are of different sizes.
    """
    recording = load_recording(path, SHAPE)
    normal = recording.sources[: change_of_regime(recording)]
    frames = [_without_dark_level(recording.native(frame)) for frame in range(len(normal))]
    last = "" if len(normal) == len(recording.sources) else f", to {normal[-1].path.name}: then it changes"
    count = "one recorded frame" if len(frames) == 1 else f"{len(frames)} recorded frames"
    return _laser(path.name, count + last, frames, recording.skipped)


def simulated_laser(name: str, seed: int) -> Laser:
    """Return a laser of simulated frames, one frame per second."""
    camera = simulated.camera(name, SIMULATED_SHAPE, SIMULATED_LIMIT, seed)
    pulses = 1000 * np.arange(SIMULATED_FRAMES, dtype=np.int64)
    frames = [_simulated_frame(camera, pulses[n : n + 1], seed) for n in range(len(pulses))]
    return _laser(name, f"{len(frames)} simulated frames: no recorded ones were given", frames)


def window(sums: Images, factor: int, down: int = 0, right: int = 0) -> Images:
    """Return the middle of `box_sums` as a frame, with its content moved by native pixels: (h, w)."""
    high, wide = (length * factor for length in SHAPE)
    height, width = (length + factor - 1 for length in sums.shape)
    top, left = (height - high) // 2 - down, (width - wide) // 2 - right
    return sums[top : top + high : factor, left : left + wide : factor]


def box_sums(image: Floats, factor: int) -> Images:
    """Return the sum over the square of `factor` pixels a side from each pixel on: (H - factor + 1, …)."""
    total = np.cumsum(np.cumsum(np.pad(image, ((1, 0), (1, 0))), axis=0, dtype=np.float64), axis=1)
    sums = total[factor:, factor:] - total[:-factor, factor:] - total[factor:, :-factor]
    return (sums + total[:-factor, :-factor]).astype(np.float32)


def _laser(name: str, origin: str, frames: Sequence[Floats], skipped: tuple[SkippedFile, ...] = ()) -> Laser:
    """Make a laser of frames, all scaled to the same energy, because each shot gets an energy of its own."""
    shape = frames[0].shape
    factor = min(int(length / (binned + 2 * REACH)) for length, binned in zip(shape, SHAPE, strict=True))
    if factor < 1:
        raise ValueError(f"{name}: {shape} px is too small for {SHAPE} and {REACH:g} px around it")
    if any(frame.shape != shape for frame in frames):
        raise ValueError(f"{name}: the frames are of different sizes")
    energies = [frame.sum() for frame in frames]
    alike = [frame * (np.mean(energies) / energy) for frame, energy in zip(frames, energies, strict=True)]
    sharp = np.mean(alike, axis=0)
    to_counts = PEAK_SHARE * LIMIT / box_sums(sharp, factor).max()
    sums = np.stack([np.maximum(box_sums(to_counts * frame, factor), 0) for frame in alike])
    mean = window(box_sums(to_counts * sharp, factor), factor)
    return Laser(name, origin, factor, sums, to_counts * sharp, mean, skipped)


def _simulated_frame(camera: simulated.Camera, pulse: Times, seed: int) -> Floats:
    light = simulated.illuminate(camera, simulated.beam(camera, pulse, np.ones(1), seed))
    noise = simulated.sensor_noise(camera, pulse, seed)
    return _without_dark_level(simulated.expose(light, camera.sensor, noise)[0])


def _without_dark_level(image: Picture) -> Floats:
    """Return the light, which varies around zero where there is none.

    It is not cut at zero, because the remaining noise would then appear as light.
    """
    border = np.concatenate([*image[[0, -1]], *image[:, [0, -1]].T])
    light: Floats = image - border.mean(dtype=np.float64)
    return light
