"""`python -m shotwatch_detector`: compile the Numba functions, so that no service waits for it.

Numba stores the machine code beside the modules, for this type of processor.
"""

import numpy as np

from shotwatch_detector.fine_structure import map_fine, measure_structure
from shotwatch_detector.frames import ReferenceFrame, normalise
from shotwatch_detector.residuals import ResidualMap, measure_deviations, smooth

SHAPE = (8, 16)


def compile_kernels() -> None:
    """Run every compiled function once."""
    flat = np.ones(SHAPE, np.float32)
    sloped = np.arange(flat.size, dtype=np.float32).reshape(SHAPE)
    images = normalise(sloped.astype(np.uint16)[np.newaxis], ReferenceFrame(sloped, 1.0)).images
    measure_deviations(images, smooth(images), ResidualMap(flat, flat))
    measure_structure(images, images, ResidualMap(flat, flat), map_fine(images, 1.0))


if __name__ == "__main__":
    compile_kernels()
