"""Simulated files that are made once and used again by later runs."""

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import shotwatch_simulator
from shotwatch_simulator.simulation import Simulation, simulate

from .usage import cores

CACHE = Path("build/bench-files")
_WORTH_PROCESSES = 20
"""Fewer files are made faster than other processes start."""


def made_files(simulation: Simulation, cache: Path = CACHE) -> Sequence[Path]:
    """Return the files of a simulation, in the order of their names; make them if the cache lacks them.

    They lie in a folder that is named by the simulator's code and all arguments. The folder appears when all
    files are in it, so a run that was interrupted leaves none behind.
    """
    folder = cache / _name(simulation)
    if not folder.exists():
        part = cache / f"{folder.name}.{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        for _ in simulate(simulation, part, cores() if len(simulation.files) >= _WORTH_PROCESSES else 1):
            pass
        part.rename(folder)
    return sorted(folder.glob("*.h5"))


def _name(simulation: Simulation) -> str:
    code = sha256()
    for module in sorted(Path(next(iter(shotwatch_simulator.__path__))).glob("*.py")):
        code.update(module.read_bytes())
    code.update(repr(simulation).encode())
    return code.hexdigest()[:32]
