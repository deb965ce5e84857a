"""The models that inference loads: promoted bundles from the model registry."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from shotwatch_common import metrics
from shotwatch_common.archive import Archive
from shotwatch_common.printable import printable
from shotwatch_common.promoted import disagreement, download_promoted
from shotwatch_common.promotion_audit import UnprovenPromotion, proven
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.telemetry import Log
from shotwatch_detector.bundle import BundleError
from shotwatch_detector.detector import Detector
from shotwatch_shots.errors import Retry
from shotwatch_shots.event import ModelRef
from shotwatch_shots.models import ModelLoad, Promotion
from shotwatch_shots.vocabulary import ModelAlias

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
"""Pauses between two attempts to load a version that cannot be loaded, in seconds."""
LONGEST_REASON = 300
"""Maximum length of a reason, in characters."""


@dataclass(frozen=True, slots=True)
class Model:
    """A version of the model, loaded and warmed up."""

    ref: ModelRef
    digest: str
    """Digest of the promoted bundle; empty for a version that was fetched only for a comparison."""
    detector: Detector

    def is_of(self, promotion: Promotion) -> bool:
        """Return whether this is the promoted bundle."""
        return (self.ref.version, self.digest) == (promotion.version, promotion.digest)


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that has the alias but is not loaded."""

    version: str | None
    """None if the alias was removed without a promotion."""
    digest: str
    """Digest of the promoted bundle; empty while the promotions, the audit and the registry differ."""
    why: str

    def is_of(self, promotion: Promotion) -> bool:
        """Return whether this is the promoted bundle."""
        return (self.version, self.digest) == (promotion.version, promotion.digest)


class ModelWatch:
    """The watch over an alias: it keeps the promoted version loaded, and changes it after a promotion.

        watch = ModelWatch(registry, archive, ModelAlias.CHAMPION, log)
        await watch.poll()
        watch.current

    A new version is fetched, loaded and warmed up beside the current one, then replaces it at once. Code that
    took `current` before continues with the version it took. If a version cannot be loaded, the previous one
    stays. Loading is tried again after a pause that doubles from FIRST_PAUSE_S to LONGEST_PAUSE_S.

    A version is loaded only if the audit records its promotion and the registry's alias names the promoted
    version. Files are parsed only if their digest is that of the promotion.
    """

    def __init__(self, registry: ModelRegistry, archive: Archive, alias: ModelAlias, log: Log) -> None:
        self.current: Model | None = None
        """None until a version that could be loaded had the alias."""
        self.failure: LoadFailure | None = None
        """None while the version that has the alias is loaded, or no version has the alias."""
        self._registry = registry
        self._archive = archive
        self._alias = alias
        self._log = log
        self._pause_s = FIRST_PAUSE_S
        self._again_at = 0.0

    async def poll(self) -> None:
        """Query the registry and the database once, and change models if another one was promoted.

        Raises:
            Retry: the registry or the database does not answer.
        """
        try:
            promotion = await proven(self._archive, self._alias)
        except UnprovenPromotion as error:
            self._refuse(error.promotion.version, str(error))
            return
        named = (await self._registry.aliases()).get(self._alias)
        if why := disagreement(self._alias, named, promotion):
            self._refuse(named, why)
        elif promotion is None or promotion.version is None:
            self._withdraw()
        elif self.current is not None and self.current.is_of(promotion):
            self._settle()
        elif self._is_due(promotion):
            await self._change(promotion)

    def report(self, replica: str) -> ModelLoad:
        """Return what this replica has loaded for the alias."""
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
        """Clear the failure: the alias is back at the version that is loaded."""
        if self.failure is not None:
            self.failure = None
            metrics.model_is_the_one_loaded(self._alias)

    def _refuse(self, version: str | None, why: str) -> None:
        """Keep what is loaded, and report once that the promotions, the audit and the registry differ."""
        failure = LoadFailure(version, "", _shortened(printable(why)))
        if failure != self.failure:
            self._fail(failure, again_in_s=0)

    def _is_due(self, promotion: Promotion) -> bool:
        return not self._failed_before(promotion) or monotonic() >= self._again_at

    def _failed_before(self, promotion: Promotion) -> bool:
        return self.failure is not None and self.failure.is_of(promotion)

    async def _change(self, promotion: Promotion) -> None:
        try:
            self.current = await fetch_promoted(self._registry, promotion)
        except ValueError as error:
            again = self._failed_before(promotion)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if again else FIRST_PAUSE_S
            self._again_at = monotonic() + self._pause_s
            why = _shortened(printable(str(error)))
            self._fail(LoadFailure(promotion.version, promotion.digest, why), again_in_s=self._pause_s)
            return
        self.failure = None
        metrics.model_loaded(self._alias, self.current.ref)
        cameras = len(self.current.detector.bundle.cameras)
        self._log.info("model loaded", alias=self._alias, version=promotion.version, cameras=cameras)

    def _fail(self, failure: LoadFailure, again_in_s: float) -> None:
        self.failure = failure
        metrics.model_not_loaded(self._alias)
        self._log.error(
            "model cannot be loaded",
            alias=self._alias,
            version=failure.version,
            why=failure.why,
            judging_with=self.current.ref.version if self.current else None,
            again_in_s=again_in_s,
        )


async def fetch_promoted(registry: ModelRegistry, promotion: Promotion) -> Model:
    """Download the promoted bundle and prepare it for scoring.

    Raises:
        ValueError: it cannot be loaded, or is not the promoted one; the message gives the reason.
        Retry: the registry does not answer.
    """
    ref = ModelRef(name=registry.name, version=promotion.version or "", run_id=promotion.run_id)
    return Model(ref, promotion.digest, await prepared(download_promoted(registry, promotion)))


async def prepared(download: Awaitable[Mapping[str, bytes]]) -> Detector:
    """Return the detector of a bundle, after its first, slowest run.

    Raises:
        ValueError: the bundle cannot be downloaded or loaded; the message gives the reason.
        Retry: the registry does not answer.
    """
    try:
        return await asyncio.to_thread(_ready, await download)
    except (Retry, ValueError):
        raise
    except Exception as error:
        # A bundle is content of unknown origin. The errors that a damaged one causes in NumPy and LiteRT
        # cannot be enumerated. They must not end the process, which continues with the previous model or with
        # the rules.
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _ready(files: Mapping[str, bytes]) -> Detector:
    """Return the detector of a bundle after its first, slowest run.

    Raises:
        BundleError: the files are not a valid bundle.
        Exception: its network does not run on the bundle's frames.
    """
    with TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        try:
            detector = Detector.load(Path(folder))
        except BundleError as error:
            raise BundleError(str(error).replace(f"{folder}/", "")) from error
    detector.warm_up()
    return detector


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} …"
