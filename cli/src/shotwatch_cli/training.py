"""Training as a process beside us: started, listened to, and its thresholds told."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shotwatch_cli.failures import Failure
from shotwatch_cli.steps import Step, run_steps
from shotwatch_common.bundle_files import MANIFEST
from shotwatch_common.errors import Retry
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.settings import Settings


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one feature over all devices, in robust standard deviations of each device."""

    feature: str
    devices: int
    lowest: float
    highest: float


def train(environment: Mapping[str, str], arguments: Sequence[str], tell: Callable[[Step], None]) -> Step:
    """Train in a process of its own; `tell` hears of each step. The last step says what was registered.

    Raises:
        Failure: it did not come to a model; says why.
    """
    return run_steps("shotwatch_training", environment, arguments, tell)


async def thresholds_of(settings: Settings, version: str) -> list[Thresholds]:
    """Return the thresholds of a version of the model.

    Raises:
        Failure: the registry does not give them.
    """
    try:
        async with ModelRegistry.of(settings) as registry:
            found = await registry.find(version)
            if found is None:
                raise ValueError(f"there is no version {version}")
            manifest = await registry.download(found, MANIFEST)
    except (Retry, ValueError) as error:
        raise Failure(f"the model was registered, but its thresholds cannot be read: {error}") from error
    return summarise(json.loads(manifest)["usual"])


def summarise(usual: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Thresholds]:
    """Device → feature → reference, as one line per feature."""
    limits: dict[str, list[float]] = {}
    for features in usual.values():
        for feature, reference in features.items():
            limits.setdefault(feature, []).append(reference["tail"]["reach"])
    return [Thresholds(feature, len(of), min(of), max(of)) for feature, of in sorted(limits.items())]
