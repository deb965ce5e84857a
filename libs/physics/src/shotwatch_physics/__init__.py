"""The physics of beams, spectra, energies and devices: arrays in, arrays and dataclasses out."""

from shotwatch_physics import numba_settings as numba_settings
