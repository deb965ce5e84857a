"""Random numbers as pure functions of a name and a pulse.

The energy, pointing and noise of a pulse do not depend on the order, process or file in which it is made.
"""

from hashlib import blake2b

import numpy as np
import scipy  # its submodules load at their first use, because they are slow to import
from numpy.typing import NDArray

from shotwatch_shots.pulses import Times

Floats = NDArray[np.float64]
Images = NDArray[np.float32]

_MINUTE_MS = 60_000


def key(*names: object) -> int:
    """Return 64 bits that represent these names."""
    digest = blake2b("\n".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(*names: object) -> np.random.Generator:
    """Return a generator for the fixed properties of a thing with this name."""
    return np.random.default_rng(key(*names))


def uniform(pulses: Times, *names: object) -> Floats:
    """Return one number between 0 and 1, both excluded, per pulse (SplitMix64 of pulse and names)."""
    bits = pulses.astype(np.uint64) + np.uint64(key(*names))
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    numbers: Floats = (bits >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 2.0**-53
    return numbers


def normal(pulses: Times, *names: object) -> Floats:
    """Return one normal deviate (mean 0, standard deviation 1) per pulse."""
    deviates: Floats = scipy.special.ndtri(uniform(pulses, *names))
    return deviates


def drift(pulses: Times, *names: object) -> Floats:
    """Return a slow wave between -1 and 1 with a period of 10 to 30 minutes."""
    rng = generator(*names, "drift")
    period = rng.uniform(10, 30) * _MINUTE_MS
    wave: Floats = np.sin(2 * np.pi * (pulses / period + rng.uniform()))
    return wave


def white(pulses: Times, shape: tuple[int, ...], *names: object) -> Images:
    """Return white normal noise of this shape for each pulse: (n, *shape)."""
    noise = np.empty((len(pulses), *shape), np.float32)
    seed = key(*names, "white")
    for row, pulse in zip(noise, pulses.tolist(), strict=True):
        np.random.Generator(np.random.SFC64([seed, pulse])).standard_normal(out=row, dtype=np.float32)
    return noise
