"""The physics of beams, spectra, energies and devices: arrays in, arrays and dataclasses out."""
