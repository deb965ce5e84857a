"""Training as a process beside us: started, listened to, and its thresholds told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from shotwatch_cli.failures import Failure
from shotwatch_cli.steps import Step, run_steps


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


def thresholds_of(models_url: str, run_id: str) -> list[Thresholds]:
    """The thresholds of a run's model, from the registry.

    Raises:
        Failure: the registry does not give them.
    """
    query = {"run_uuid": run_id, "path": "bundle/bundle.json"}
    try:
        answer = httpx.get(f"{models_url}/get-artifact", params=query, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Failure(f"the model was registered, but its thresholds cannot be read: {error}") from error
    return summarise(answer.json()["usual"])


def summarise(usual: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Thresholds]:
    """Device → feature → reference, as one line per feature."""
    limits: dict[str, list[float]] = {}
    for features in usual.values():
        for feature, reference in features.items():
            limits.setdefault(feature, []).append(reference["tail"]["reach"])
    return [Thresholds(feature, len(of), min(of), max(of)) for feature, of in sorted(limits.items())]
