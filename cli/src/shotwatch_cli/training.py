"""Training in a process of its own, the alias of the version that it registers, and its thresholds."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shotwatch_cli.deployment import settings_as
from shotwatch_cli.failures import Failure
from shotwatch_cli.steps import Step, run_steps
from shotwatch_common.archive import Archive
from shotwatch_common.bundle_files import MANIFEST
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.settings import Settings
from shotwatch_operations.promotion import Promoter, PromotionError
from shotwatch_shots.errors import Retry
from shotwatch_shots.vocabulary import ModelAlias


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of one feature over all devices, in robust standard deviations of each device."""

    feature: str
    devices: int
    lowest: float
    highest: float


def train(
    environment: Mapping[str, str],
    arguments: Sequence[str],
    alias: ModelAlias | None,
    report: Callable[[Step], None],
) -> Step:
    """Train in a process of its own, and give the new version its alias with the rights of the command line.

    Return the last step, which names the registered version, together with the alias.

    Args:
        environment: of the process, with the addresses of the servers.
        arguments: of the process.
        alias: of the new version; None for champion if there is none yet, otherwise challenger.
        report: is called with each step.

    Raises:
        Failure: training made no model; the message gives the reason.
    """
    trained = run_steps("shotwatch_training", environment, ["--register-only", *arguments], report)
    settings = settings_as(Settings, environment)
    return {**trained, "alias": asyncio.run(_introduce(settings, trained, alias))}


async def _introduce(settings: Settings, trained: Step, alias: ModelAlias | None) -> ModelAlias:
    async with ModelRegistry.of(settings) as registry, Archive.of(settings) as archive:
        try:
            return await Promoter(registry, archive).introduce(
                trained["version"], trained["digest"], alias, "shotwatch train"
            )
        except PromotionError as error:
            raise Failure(f"the model was registered, but has no alias: {error}") from error


async def thresholds_of(settings: Settings, version: str) -> list[Thresholds]:
    """Return the thresholds of a version of the model.

    Raises:
        Failure: they cannot be read from the registry.
    """
    try:
        async with ModelRegistry.of(settings) as registry:
            found = await registry.find(version)
            if found is None:
                raise ValueError(f"there is no version {version}")
            manifest = await registry.download(found, MANIFEST)
    except (Retry, ValueError) as error:
        raise Failure(f"the model was registered, but its thresholds cannot be read: {error}") from error
    return summarise(json.loads(manifest)["baselines"])


def summarise(baselines: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Thresholds]:
    """Summarize device → feature → reference as one entry per feature."""
    limits: dict[str, list[float]] = {}
    for features in baselines.values():
        for feature, reference in features.items():
            limits.setdefault(feature, []).append(reference["tail"]["reach"])
    return [Thresholds(feature, len(of), min(of), max(of)) for feature, of in sorted(limits.items())]
