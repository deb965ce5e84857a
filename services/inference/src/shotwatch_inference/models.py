"""The models that inference loads: the versions that an alias of the registry names."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from shotwatch_common import metrics
from shotwatch_common.contracts import ModelRef
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_common.telemetry import Log
from shotwatch_common.vocabulary import ModelAlias
from shotwatch_detector.bundle import CAMERAS, MANIFEST, NETWORK
from shotwatch_detector.detector import Detector
from shotwatch_detector.scoring import FRAMES_AT_ONCE


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded and warmed-up version."""

    ref: ModelRef
    detector: Detector


class ModelWatch:
    """Keeps the version that has an alias at hand, and notices when the alias moves.

        watch = ModelWatch(registry, ModelAlias.CHAMPION, log)
        await watch.look()
        watch.current

    A new version is fetched, loaded and warmed up beside the one that scores, which it then replaces at once:
    whoever took `current` before goes on with what it took. A version that cannot be loaded is reported once
    and passed over.
    """

    def __init__(self, registry: ModelRegistry, alias: ModelAlias, log: Log) -> None:
        self.current: Model | None = None
        """None while no version has the alias."""
        self._registry = registry
        self._alias = alias
        self._log = log
        self._seen: str | None = None

    async def look(self) -> None:
        """Ask the registry once, and change models when the alias has moved.

        Raises:
            Retry: the registry does not answer.
        """
        version = (await self._registry.aliases()).get(self._alias)
        if version == self._seen:
            return
        if version is None:
            self.current = None
            metrics.model_withdrawn(self._alias)
            self._log.warning("no model has the alias any more", alias=self._alias)
        else:
            await self._change(version)
        self._seen = version

    async def _change(self, version: str) -> None:
        try:
            self.current = await fetch(self._registry, version)
        except ValueError as error:
            self._log.error("model cannot be loaded", alias=self._alias, version=version, why=str(error))
        else:
            metrics.model_loaded(self._alias, self.current.ref)
            cameras = len(self.current.detector.bundle.cameras)
            self._log.info("model loaded", alias=self._alias, version=version, cameras=cameras)


async def fetch(registry: ModelRegistry, version: str) -> Model:
    """Download a version's bundle and make it ready to score.

    Raises:
        ValueError: there is no such version, the registry does not serve it, or it is no bundle.
        Retry: the registry does not answer.
    """
    found = await registry.find(version)
    if found is None:
        raise ValueError(f"{registry.name} has no version {version}")
    ref = ModelRef(name=registry.name, version=found.version, run_id=found.run_id)
    return Model(ref, await _detector(registry, found))


async def _detector(registry: ModelRegistry, version: ModelVersion) -> Detector:
    with TemporaryDirectory() as folder:
        for name in (MANIFEST, NETWORK, CAMERAS):
            data = await registry.download(version, name)
            await asyncio.to_thread(Path(folder, name).write_bytes, data)
        return await asyncio.to_thread(_ready, Path(folder))


def _ready(folder: Path) -> Detector:
    """The bundle's detector after its first, slowest run."""
    detector = Detector.load(folder)
    for device, camera in list(detector.bundle.cameras.items())[:1]:
        detector.score(device, np.zeros((FRAMES_AT_ONCE, *camera.reference.image.shape), np.uint16))
    return detector
