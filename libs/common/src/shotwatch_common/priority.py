"""Priority at the processor: what many shots wait for yields to what a single shot waits for (ADR 62)."""

import os

NICENESS = 5
"""Niceness added to work that yields: beside other work, it gets a third of an equal share."""


def yield_cores(process: int = 0) -> None:
    """Let a process of this service yield the cores, or a thread (by its native id; 0 is the calling one)."""
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS)
