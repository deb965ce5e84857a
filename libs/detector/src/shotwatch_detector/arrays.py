"""The array types of the detector."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint16]
"""Camera frames as recorded: (n, h, w) counts."""
Frame = NDArray[np.uint16]
"""One camera frame as recorded: (h, w) counts."""
Images = NDArray[np.float32]
"""Normalised frames, reconstructions or residuals: (n, h, w), 1 = the peak of the camera's reference."""
Image = NDArray[np.float32]
"""One normalised frame, reconstruction or residual: (h, w)."""
Values = NDArray[np.float64]
"""One value per shot: (n,); NaN where there is none."""
Features = Mapping[str, Values]
"""Feature or score name → its value in each shot."""
