"""The model registry, over MLflow's REST API."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from shotwatch_query.errors import Unavailable

MODEL = "shotwatch"
_API = "/api/2.0/mlflow"
_TIMEOUT = aiohttp.ClientTimeout(total=5)


class Registry:
    """Versions and aliases of the model. Every method raises Unavailable when the server is away."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self.counting = asyncio.Lock()
        """Held from counting to writing the count, so that no older count is written over a newer one."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._session.close()

    async def model(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The registered model and its versions, newest first; both empty before the first training."""
        model, versions = await asyncio.gather(
            self._get("/registered-models/get", name=MODEL),
            self._get("/model-versions/search", filter=f"name='{MODEL}'", max_results="1000"),
        )
        return model.get("registered_model", {}), versions.get("model_versions", [])

    async def alive(self) -> None:
        """Return when the server answers."""
        await self._get("/registered-models/search", max_results="1")

    async def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; nothing happens when there is no such version."""
        for key, value in tags.items():
            tag = {"name": MODEL, "version": version, "key": key, "value": value}
            await self._ask("POST", "/model-versions/set-tag", json=tag)

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        return await self._ask("GET", path, params=query)

    async def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            async with self._session.request(method, f"{self._url}{_API}{path}", **what) as response:
                if response.status == 404:
                    return {}
                response.raise_for_status()
                answer: dict[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the model registry does not answer: {error!r}") from error
