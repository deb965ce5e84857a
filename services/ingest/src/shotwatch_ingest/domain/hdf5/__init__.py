"""Safe and fast access to HDF5 files of unknown origin.

`image` opens a file and its groups, `values` loads numbers and texts, and `header_template` reads datasets
whose headers are alike.
"""
