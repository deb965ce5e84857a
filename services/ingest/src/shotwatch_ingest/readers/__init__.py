"""Reader processes: files of unknown origin are read where they can harm nothing else.

`pool` is the service's side, `process` the program that a reader runs, `sandbox` its confinement. `exchange`
is what both sides send each other and the unnamed files that they share.
"""
