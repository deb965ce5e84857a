"""Files for other tools: NeXus, openPMD and HDF5, which a process of its own writes (ADR 69).

`gathering` reads what a file is made of, which `contents` describes. `process` starts the process. It runs
`__main__`, which calls one of `nexus`, `pulses` and `frames`. Only these import the libraries: the API does
not load them.
"""
