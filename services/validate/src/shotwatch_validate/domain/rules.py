"""The rules that data must meet, one function each. The first rule that a record breaks gives its reason.

The rules for spectra and energies are those of the facility's report RST-2.3.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.device_kinds import Digest, EnergyDigest, ImageDigest, SpectrumDigest
from shotwatch_shots.facility import Dataset, FramePolicy
from shotwatch_shots.vocabulary import RecordReason

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Context:
    """The limits and the context against which the data of a device are checked."""

    datasets: tuple[Dataset, ...]
    """The datasets of the device, as listed in the facility file."""
    frames: FramePolicy
    readable: Mask
    """(n,) records whose data could be read."""
    previous_fingerprint: int | None
    """Fingerprint of the frame before the first of these, if there was one."""


Rule = Callable[[Any, Context], tuple[Mask, str]]
"""(digest, context) → the records (n,) that break the rule, and its requirement in words."""


def broken_rules(digest: Digest, context: Context) -> Iterator[tuple[str, Mask]]:
    """Yield `reason: detail` of each rule for such a digest, in order, and the records (n,) that break it."""
    for reason, rule in _rules_of(digest):
        broken, detail = rule(digest, context)
        yield f"{reason}: {detail}", broken


def _black(frames: ImageDigest, context: Context) -> tuple[Mask, str]:
    level = context.frames.black_below
    return frames.maximum < level, f"no pixel reaches {level:g}"


def _saturated(frames: ImageDigest, context: Context) -> tuple[Mask, str]:
    share = context.frames.saturated_share
    pixels = math.prod(context.datasets[0].shape)
    return frames.saturated > share * pixels, f"more than {100 * share:g} % of the pixels are saturated"


def _frozen(frames: ImageDigest, context: Context) -> tuple[Mask, str]:
    frozen = np.zeros_like(context.readable)
    fingerprints = frames.fingerprint[context.readable]
    unlike_any = -1
    first = unlike_any if context.previous_fingerprint is None else context.previous_fingerprint
    frozen[context.readable] = fingerprints == np.append(first, fingerprints)[:-1]
    return frozen, "is the frame before, once more"


def _frame_range(frames: ImageDigest, context: Context) -> tuple[Mask, str]:
    dataset = context.datasets[0]
    return _outside(frames.minimum, dataset) | _outside(frames.maximum, dataset), _range(dataset)


def _not_finite(spectra: SpectrumDigest, _context: Context) -> tuple[Mask, str]:
    return ~np.isfinite(spectra.total), "an intensity is not a finite number"


def _no_spectrum(spectra: SpectrumDigest, _context: Context) -> tuple[Mask, str]:
    return spectra.total <= 0, "the intensities do not sum to more than zero"


def _spectrum_range(spectra: SpectrumDigest, context: Context) -> tuple[Mask, str]:
    dataset = context.datasets[0]
    return _outside(spectra.minimum, dataset) | _outside(spectra.maximum, dataset), _range(dataset)


def _no_energy(energies: EnergyDigest, _context: Context) -> tuple[Mask, str]:
    return ~((energies.energy1 > 0) | (energies.energy2 > 0)), "neither energy is positive"


def _energy_range(energies: EnergyDigest, context: Context) -> tuple[Mask, str]:
    first, second = context.datasets
    return _outside(energies.energy1, first) | _outside(energies.energy2, second), _range(first)


def _outside(values: NDArray[np.float64], dataset: Dataset) -> Mask:
    """Return which values are outside the range; not NaN, which is left to other rules."""
    low, high = dataset.range
    return (values < low) | (values > high)


def _range(dataset: Dataset) -> str:
    low, high = dataset.range
    return f"{dataset.name} is outside {low:g}..{high:g} {dataset.unit}"


def _rules_of(digest: Digest) -> tuple[tuple[RecordReason, Rule], ...]:
    """Return the rules for a digest, in the order in which they are applied."""
    match digest:
        case ImageDigest():
            return (
                (RecordReason.BLACK_FRAME, _black),
                (RecordReason.SATURATED_FRAME, _saturated),
                (RecordReason.FROZEN_FRAME, _frozen),
                (RecordReason.OUT_OF_RANGE, _frame_range),
            )
        case SpectrumDigest():
            return (
                (RecordReason.NOT_FINITE, _not_finite),
                (RecordReason.NO_SPECTRUM, _no_spectrum),
                (RecordReason.OUT_OF_RANGE, _spectrum_range),
            )
        case EnergyDigest():
            return (RecordReason.NO_ENERGY, _no_energy), (RecordReason.OUT_OF_RANGE, _energy_range)
