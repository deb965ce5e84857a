"""A model registry in memory, as services and the promotion use it."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.registry import ModelRegistry, ModelVersion, RegisteredVersion
from shotwatch_common.settings import Settings
from shotwatch_detector.bundle import Bundle, Origin, save_bundle
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.scoring import CameraReference
from shotwatch_shots.errors import Retry
from shotwatch_shots.vocabulary import ModelAlias

from .effects import Effects


@dataclass
class LoggedRun:
    """A training run, as the registry keeps it."""

    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Path → content."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of the model, as the registry keeps it."""

    run_id: str
    bundle: Mapping[str, bytes]
    """Name → content."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Registered:
    """The content of a registry. It outlives the connections to it."""

    effects: Effects = field(default_factory=Effects)
    versions: dict[str, StoredVersion] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """Alias → version."""
    runs: dict[str, LoggedRun] = field(default_factory=dict)

    def fork(self, effects: Effects) -> "Registered":
        """Return a registry with the same content."""
        return Registered(effects, deepcopy(self.versions), dict(self.aliases), deepcopy(self.runs))

    def add(
        self, version: str, baselines: DeviceBaselines, cameras: Mapping[str, CameraReference] | None = None
    ) -> str:
        """Add a version of a model; return the digest of its bundle."""
        origin = Origin("HPLS", "strided", version, 0, 1, 2)
        with TemporaryDirectory() as folder:
            save_bundle(Bundle(origin, b"network", cameras or {}, baselines), Path(folder))
            bundle = {name: Path(folder, name).read_bytes() for name in BUNDLE_FILES}
        self.versions[version] = StoredVersion(f"run-{version}", bundle)
        return digest_of(bundle)

    def of(self, _settings: Settings) -> "RegistryInMemory":
        """Return a connection, as `ModelRegistry.of` does."""
        return RegistryInMemory(self)


class RegistryInMemory(ModelRegistry):
    """A connection to a registry in memory."""

    def __init__(self, registered: Registered) -> None:
        self.name = "shotwatch"
        self._registered = registered

    async def __aexit__(self, *_error: object) -> None: ...

    async def aliases(self) -> dict[str, str]:
        return dict(self._registered.aliases)

    async def versions(self) -> list[RegisteredVersion]:
        newest = reversed(self._registered.versions.items())
        return [RegisteredVersion(name, each.run_id, 0, "READY", dict(each.tags)) for name, each in newest]

    async def find(self, version: str) -> ModelVersion | None:
        known = self._registered.versions.get(version)
        return ModelVersion(version, known.run_id, version) if known else None

    async def give(self, alias: ModelAlias, version: str) -> None:
        self._change(f"give {alias}", self._registered.aliases, {alias.value: version})

    async def withdraw(self, alias: ModelAlias) -> None:
        aliases = self._registered.aliases
        self._registered.effects.perform(f"withdraw {alias}", lambda: aliases.pop(alias, None), _away)

    async def tag(self, version: str, tags: Mapping[str, str]) -> None:
        if known := self._registered.versions.get(version):
            for key, value in tags.items():
                self._change(f"tag {key}", known.tags, {key: value})

    async def download(self, version: ModelVersion, file: str) -> bytes:
        return self._registered.versions[version.version].bundle[file]

    def _change(self, what: str, kept: dict[str, str], new: Mapping[str, str]) -> None:
        self._registered.effects.perform(what, lambda: kept.update(new), _away)


def _away() -> Exception:
    return Retry("the model registry does not answer")
