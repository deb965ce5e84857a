"""The champion: the model version that scores, as the registry's alias names it.

MLflow's REST API is spoken directly: importing its client takes longer than this service may take to start.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import aiohttp
import numpy as np

from shotwatch_common.errors import Retry
from shotwatch_common.telemetry import Log
from shotwatch_detector.bundle import CAMERAS, MANIFEST, NETWORK
from shotwatch_detector.detector import Detector
from shotwatch_detector.scoring import FRAMES_AT_ONCE

_ALIAS = "/api/2.0/mlflow/registered-models/alias"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_SERVED = "mlflow-artifacts:/"
_TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True)
class Champion:
    """A loaded and warmed-up model version."""

    name: str
    version: str
    run_id: str
    detector: Detector


class ChampionWatch:
    """Keeps the champion at hand and notices when the alias moves.

        async with ChampionWatch(url, "shotwatch", "champion", log) as watch:
            await watch.look()
            watch.current

    A new version is fetched, loaded and warmed up beside the one that scores, which it then replaces at once:
    whoever took `current` before goes on with what it took. A version that cannot be loaded is reported once
    and passed over.
    """

    def __init__(self, url: str, name: str, alias: str, log: Log) -> None:
        self.current: Champion | None = None
        """None before any model has the alias."""
        self._url = url.rstrip("/")
        self._name = name
        self._alias = alias
        self._log = log
        self._seen: str | None = None
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._session.close()

    async def look(self) -> None:
        """Ask the registry once, and change champions when the alias has moved.

        Raises:
            Retry: the registry does not answer.
        """
        try:
            named = await self._named()
            if named is None and self._seen is None:
                self._seen = ""
                self._log.warning("no model has the alias yet: only the rules apply", alias=self._alias)
            if named and named["version"] != self._seen:
                await self._change(named)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry(f"the model registry does not answer: {error!r}") from error

    async def _named(self) -> Mapping[str, Any] | None:
        """The version that has the alias."""
        query = {"name": self._name, "alias": self._alias}
        async with self._session.get(self._url + _ALIAS, params=query) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            version: Mapping[str, Any] = (await response.json())["model_version"]
            return version

    async def _change(self, named: Mapping[str, Any]) -> None:
        version = named["version"]
        try:
            detector = await self._fetch(named["source"])
        except ValueError as error:
            self._log.error("model cannot be loaded", version=version, why=str(error))
        else:
            self.current = Champion(self._name, version, named["run_id"], detector)
            self._log.info("champion", version=version, cameras=len(detector.bundle.cameras))
        self._seen = version

    async def _fetch(self, source: str) -> Detector:
        """Download a bundle and make it ready to score.

        Raises:
            ValueError: the registry does not serve it, or it is no bundle.
        """
        if not source.startswith(_SERVED):
            raise ValueError(f"{source} is not served by the model registry")
        place = f"{self._url}{_ARTIFACTS}/{source.removeprefix(_SERVED).lstrip('/')}"
        with TemporaryDirectory() as folder:
            for name in (MANIFEST, NETWORK, CAMERAS):
                data = await self._download(f"{place}/{name}")
                await asyncio.to_thread(Path(folder, name).write_bytes, data)
            return await asyncio.to_thread(_ready, Path(folder))

    async def _download(self, url: str) -> bytes:
        async with self._session.get(url) as response:
            if response.status == 404:
                raise ValueError(f"{url} does not exist")
            response.raise_for_status()
            return await response.read()


def _ready(folder: Path) -> Detector:
    """The bundle's detector after its first, slowest run."""
    detector = Detector.load(folder)
    for device, camera in list(detector.bundle.cameras.items())[:1]:
        detector.score(device, np.zeros((FRAMES_AT_ONCE, *camera.reference.image.shape), np.uint16))
    return detector
