"""The effective number of members of each question of a place, measured in its calibration shots."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.questions import effective_members
from shotwatch_detector.statistics import Baseline
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.domain.history import Times

DeviceBaselines = dict[str, dict[str, Baseline]]
"""Device → feature or score → its reference."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceValues:
    """Features or scores of a device in calibration shots."""

    device: str
    times: Times
    values: Features

    @classmethod
    def part(cls, device: str, times: Times, values: Features, part: slice) -> Self:
        """Return those of a part of the shots."""
        return cls(device, times[part], {name: of[part] for name, of in values.items()})


def with_members(baselines: DeviceBaselines, measured: Sequence[DeviceValues]) -> DeviceBaselines:
    """Return the references of the devices of one place with the effective members of their questions.

    Cameras keep the frames of some shots only. So members are compared in the shots that all of them have.
    """
    surprisals: dict[AnomalyKind | None, list[tuple[Times, Values]]] = defaultdict(list)
    for of in measured:
        for name in baselines[of.device].keys() & of.values.keys():
            values = baselines[of.device][name].surprisals(of.values[name])
            surprisals[INDICATORS[name].kind].append((of.times, values))
    members = {kind: effective_members(_together(series)) for kind, series in surprisals.items()}
    return {
        device: {
            name: replace(baseline, members=members[INDICATORS[name].kind])
            for name, baseline in baselines[device].items()
        }
        for device in dict.fromkeys(of.device for of in measured)
    }


def _together(series: Sequence[tuple[Times, Values]]) -> Values:
    """Return the values of several series at the times that all of them have: (series, n)."""
    common = reduce(np.intersect1d, (times for times, _ in series))
    return np.array([values[np.searchsorted(times, common)] for times, values in series])
