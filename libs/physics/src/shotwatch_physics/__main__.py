"""`python -m shotwatch_physics`: compile the Numba functions, so that no service waits for it.

Numba stores the machine code beside the modules, for this type of processor.
"""

import numpy as np

from shotwatch_physics.beam import measure_beams
from shotwatch_physics.noise import fit_noise
from shotwatch_physics.reference import make_reference, measure_in_detail
from shotwatch_physics.spectrum import measure_spectra
from shotwatch_physics.wasserstein import distance_matrix, equispaced_angles

FRAMES = 30


def compile_kernels() -> None:
    """Run every compiled function once on frames of round beams that move slightly, and on their rows."""
    y, x = np.indices((48, 64))
    wander = np.random.default_rng(0).normal(0, 1, (FRAMES, 2, 1, 1))
    images = 10 + 1000 * np.exp(-((x - 30 - wander[:, 0]) ** 2 + (y - 24 - wander[:, 1]) ** 2) / 80)
    frames = images.astype(np.uint16)
    measure_beams(frames, saturated_at=4092)
    measure_beams(frames, saturated_at=4092, noise=fit_noise(np.zeros_like(frames)))
    measure_in_detail(frames, None, make_reference(frames, None))
    measure_spectra(images[0].astype(np.float32), np.arange(700.0, 700.0 + images.shape[2]))
    distance_matrix(images[:2].astype(np.float32), equispaced_angles(2))


if __name__ == "__main__":
    compile_kernels()
