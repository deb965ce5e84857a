"""The models that inference loads: the versions that an alias of the registry names."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np

from shotwatch_common import metrics
from shotwatch_common.archive.model_loads import ModelLoad
from shotwatch_common.contracts import ModelRef
from shotwatch_common.errors import Retry
from shotwatch_common.printable import printable
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_common.telemetry import Log
from shotwatch_common.vocabulary import ModelAlias
from shotwatch_detector.bundle import CAMERAS, MANIFEST, NETWORK, BundleError
from shotwatch_detector.detector import Detector
from shotwatch_detector.scoring import FRAMES_AT_ONCE

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
"""Pauses between two attempts to load a version that cannot be loaded."""
LONGEST_REASON = 300
"""Characters."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded and warmed-up version."""

    ref: ModelRef
    detector: Detector


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that has the alias and cannot be loaded."""

    version: str
    why: str


class ModelWatch:
    """Keeps the version that has an alias loaded, and notices when the alias moves.

        watch = ModelWatch(registry, ModelAlias.CHAMPION, log)
        await watch.look()
        watch.current

    A new version is fetched, loaded and warmed up beside the one that scores, which it then replaces at once:
    whoever took `current` before goes on with what it took. A version that cannot be loaded leaves the one
    before it in place; it is tried again after a pause that doubles from FIRST_PAUSE_S to LONGEST_PAUSE_S.
    """

    def __init__(self, registry: ModelRegistry, alias: ModelAlias, log: Log) -> None:
        self.current: Model | None = None
        """None while no version that could be loaded has had the alias."""
        self.failure: LoadFailure | None = None
        """None while the version that has the alias is loaded, or none has it."""
        self._registry = registry
        self._alias = alias
        self._log = log
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0

    async def look(self) -> None:
        """Ask the registry once, and change models when the alias has moved.

        Raises:
            Retry: the registry does not answer.
        """
        version = (await self._registry.aliases()).get(self._alias)
        if version is None:
            self._withdraw()
        elif self.current is not None and version == self.current.ref.version:
            self._settle()
        elif self.failure is None or self.failure.version != version or monotonic() >= self._again_at:
            await self._change(version)

    def report(self, replica: str) -> ModelLoad:
        """Return what this replica has for the alias."""
        loaded = self.current.ref.version if self.current else None
        if self.failure is None:
            return ModelLoad(replica, self._alias, loaded, loaded, "")
        return ModelLoad(replica, self._alias, self.failure.version, loaded, self.failure.why)

    def _withdraw(self) -> None:
        if self.current is None and self.failure is None:
            return
        self.current = self.failure = None
        metrics.model_withdrawn(self._alias)
        self._log.warning("no model has the alias any more", alias=self._alias)

    def _settle(self) -> None:
        """The alias has come back to the version that is loaded."""
        if self.failure is not None:
            self.failure = None
            metrics.model_is_the_one_loaded(self._alias)

    async def _change(self, version: str) -> None:
        try:
            self.current = await fetch(self._registry, version)
        except ValueError as error:
            self._fail(version, error)
            return
        self.failure = None
        metrics.model_loaded(self._alias, self.current.ref)
        cameras = len(self.current.detector.bundle.cameras)
        self._log.info("model loaded", alias=self._alias, version=version, cameras=cameras)

    def _fail(self, version: str, error: ValueError) -> None:
        again = self.failure is not None and self.failure.version == version
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if again else FIRST_PAUSE_S
        self._again_at = monotonic() + self._pause_s
        self.failure = LoadFailure(version, _shortened(printable(str(error))))
        metrics.model_not_loaded(self._alias)
        self._log.error(
            "model cannot be loaded",
            alias=self._alias,
            version=version,
            why=self.failure.why,
            judging_with=self.current.ref.version if self.current else None,
            again_in_s=self._pause_s,
        )


async def fetch(registry: ModelRegistry, version: str) -> Model:
    """Download a version's bundle and make it ready to score.

    Raises:
        ValueError: the version cannot be loaded; the message says why.
        Retry: the registry does not answer.
    """
    try:
        found = await registry.find(version)
        if found is None:
            raise ValueError(f"{registry.name} has no version {version}")
        ref = ModelRef(name=registry.name, version=found.version, run_id=found.run_id)
        return Model(ref, await _detector(registry, found))
    except (Retry, ValueError):
        raise
    except Exception as error:
        # A bundle is content of unknown origin: what a damaged one makes NumPy and LiteRT raise cannot be
        # listed, and must not end the process, which judges by the model before it or by rules.
        raise ValueError(f"{type(error).__name__}: {error}") from error


async def _detector(registry: ModelRegistry, version: ModelVersion) -> Detector:
    with TemporaryDirectory() as folder:
        for name in (MANIFEST, NETWORK, CAMERAS):
            data = await registry.download(version, name)
            await asyncio.to_thread(Path(folder, name).write_bytes, data)
        return await asyncio.to_thread(_ready, Path(folder))


def _ready(folder: Path) -> Detector:
    """Return the bundle's detector after its first, slowest run.

    Raises:
        BundleError: the folder holds no bundle.
        Exception: its network does not run on the bundle's frames.
    """
    try:
        detector = Detector.load(folder)
    except BundleError as error:
        raise BundleError(str(error).replace(f"{folder}/", "")) from error
    for device, camera in list(detector.bundle.cameras.items())[:1]:
        detector.score(device, np.zeros((FRAMES_AT_ONCE, *camera.reference.image.shape), np.uint16))
    return detector


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} …"
