"""Code that training and inference share: preprocessing, scores, calibration and the decision."""

from shotwatch_physics import numba_settings as numba_settings
