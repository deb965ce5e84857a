"""A model registry in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.registry import ModelRegistry, ModelVersion
from shotwatch_common.settings import Settings
from shotwatch_detector.bundle import Bundle, Origin, save_bundle
from shotwatch_detector.decision import DeviceBaselines
from shotwatch_detector.scoring import CameraReference


@dataclass
class Registered:
    """The content of a registry. It outlives the connections to it."""

    bundles: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Version → name → content."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Alias → version."""

    def add(
        self, version: str, baselines: DeviceBaselines, cameras: Mapping[str, CameraReference] | None = None
    ) -> str:
        """Add a version of a model; return the digest of its bundle."""
        origin = Origin("HPLS", "strided", version, 0, 1, 2)
        with TemporaryDirectory() as folder:
            save_bundle(Bundle(origin, b"network", cameras or {}, baselines), Path(folder))
            self.bundles[version] = {name: Path(folder, name).read_bytes() for name in BUNDLE_FILES}
        return digest_of(self.bundles[version])

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

    async def find(self, version: str) -> ModelVersion | None:
        known = version in self._registered.bundles
        return ModelVersion(version, f"run-{version}", version) if known else None

    async def download(self, version: ModelVersion, file: str) -> bytes:
        return self._registered.bundles[version.version][file]
