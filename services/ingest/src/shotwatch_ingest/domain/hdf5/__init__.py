"""Safe and fast access to HDF5 files of unknown origin.

`image` opens a file and its groups, `datasets` loads numbers and texts, and `structures` recognises groups
and object headers that repeat.
"""
