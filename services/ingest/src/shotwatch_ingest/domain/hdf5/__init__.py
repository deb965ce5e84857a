"""Safe and fast access to HDF5 files of unknown origin.

`image` opens a file, `stencil` reads datasets that repeat.
"""
