"""The model registry, through MLflow's REST API.

MLflow's own client is not used: its import takes seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs
from pydantic import BaseModel
from yarl import URL

from shotwatch_common.bundle_files import BUNDLE_FILES
from shotwatch_common.clock import epoch_now
from shotwatch_common.settings import Settings
from shotwatch_shots.errors import Retry
from shotwatch_shots.vocabulary import ModelAlias

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_SERVED = "mlflow-artifacts:/"
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.GONE)
"""The registry's response statuses for a path that it never serves."""
_NOT_ALLOWED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
LARGEST_FILE = 2**30
"""In bytes. A camera of 102 x 128 pixels takes about 2 MB of a bundle, and the facility has 94."""
_TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version of the model."""

    version: str
    run_id: str
    source: str
    """Location of its bundle."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """Information about a registered version, for people."""

    version: str
    run_id: str
    created_at: int
    """Epoch ms."""
    status: str
    tags: Mapping[str, str]


class _Alias(BaseModel):
    alias: str
    version: str


class _Tag(BaseModel):
    key: str
    value: str


class _Version(BaseModel):
    version: str
    run_id: str = ""
    source: str = ""
    creation_timestamp: int = 0
    status: str = ""
    tags: list[_Tag] = []

    def registered(self) -> RegisteredVersion:
        tags = {tag.key: tag.value for tag in self.tags}
        return RegisteredVersion(self.version, self.run_id, self.creation_timestamp, self.status, tags)


class _RegisteredModel(BaseModel):
    aliases: list[_Alias] = []


class _Answer(BaseModel):
    """A response of MLflow: each request has one of these parts in it."""

    registered_model: _RegisteredModel = _RegisteredModel()
    model_versions: list[_Version] = []
    model_version: _Version | None = None


class ModelRegistry:
    """Versions and aliases of one model name.

    Every method raises Retry if the server does not answer or refuses the login.
    """

    def __init__(self, url: str, name: str, user: str = "", password: str = "") -> None:
        self.name = name
        self._url = url.rstrip("/")
        login = {hdrs.AUTHORIZATION: aiohttp.encode_basic_auth(user, password)} if user else None
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=login)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        password = settings.models_password.get_secret_value()
        return cls(settings.models_url, settings.model_name, settings.models_user, password)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._session.close()

    async def alive(self) -> None:
        """Check that the server answers."""
        await self._ask("GET", "/registered-models/search", params={"max_results": "1"})

    async def aliases(self) -> dict[str, str]:
        """Return alias → version; empty before the first training."""
        answer = await self._ask("GET", "/registered-models/get", params=self._model())
        return {each.alias: each.version for each in answer.registered_model.aliases} if answer else {}

    async def versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first; empty before the first training."""
        asked = {"filter": f"name='{self.name}'", "max_results": "1000"}
        answer = await self._ask("GET", "/model-versions/search", params=asked)
        return [each.registered() for each in answer.model_versions] if answer else []

    async def find(self, version: str) -> ModelVersion | None:
        """Return a version by its number; None if it does not exist."""
        answer = await self._ask("GET", "/model-versions/get", params=self._model(version=version))
        found = None if answer is None else answer.model_version
        return None if found is None else ModelVersion(found.version, found.run_id, found.source)

    async def give(self, alias: ModelAlias, version: str) -> None:
        """Give an alias to an existing version, and take it from the version that had it before."""
        await self._ask("POST", "/registered-models/alias", json=self._model(alias=alias, version=version))

    async def withdraw(self, alias: ModelAlias) -> None:
        """Remove an alias; do nothing if no version has it."""
        await self._ask("DELETE", "/registered-models/alias", json=self._model(alias=alias))

    async def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; do nothing if the version does not exist."""
        for key, value in tags.items():
            tag = self._model(version=version, key=key, value=value)
            await self._ask("POST", "/model-versions/set-tag", json=tag)

    async def log(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Add figures to the run that produced a version."""
        logged = [
            {"key": key, "value": value, "timestamp": epoch_now(), "step": 0}
            for key, value in metrics.items()
        ]
        await self._ask("POST", "/runs/log-batch", json={"run_id": version.run_id, "metrics": logged})

    async def bundle(self, version: ModelVersion) -> dict[str, bytes]:
        """Return the files of a version's bundle that are needed for scoring, by name.

        Raises the same errors as `download`.
        """
        return {file: await self.download(version, file) for file in BUNDLE_FILES}

    async def download(self, version: ModelVersion, file: str) -> bytes:
        """Return a file of a version's bundle.

        Raises:
            ValueError: the registry does not serve it, or it is larger than LARGEST_FILE.
            Retry: the registry does not answer, or has an internal error.
        """
        folder = version.source.removeprefix(_SERVED).lstrip("/")
        if not version.source.startswith(_SERVED) or ".." in folder.split("/"):
            raise ValueError(f"{version.source!r} is not served by the model registry")
        url = URL(f"{self._url}{_ARTIFACTS}/{quote(folder)}/{file}", encoded=True)
        try:
            async with self._session.get(url) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    raise ValueError(f"{file} does not exist in {version.source}")
                if response.status in _REFUSED:
                    raise ValueError(f"{file} in {version.source}: {response.status} {response.reason}")
                response.raise_for_status()
                data = await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _away(error) from error
        if len(data) > LARGEST_FILE:
            raise ValueError(f"{file} in {version.source} has more than {LARGEST_FILE} bytes")
        return data

    def _model(self, **more: str) -> dict[str, str]:
        return {"name": self.name, **more}

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
    ) -> _Answer | None:
        """Send a request and return the response; None if the status is 404."""
        url = f"{self._url}{_API}{path}"
        try:
            async with self._session.request(method, url, params=params, json=json) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return None
                response.raise_for_status()
                return _Answer.model_validate(await response.json())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _away(error) from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read the body, but not much more than LARGEST_FILE of it."""
    data = bytearray()
    async for chunk in response.content.iter_chunked(2**20):
        data += chunk
        if len(data) > LARGEST_FILE:
            break
    return bytes(data)


def _away(error: aiohttp.ClientError | TimeoutError) -> Retry:
    if isinstance(error, aiohttp.ClientResponseError) and error.status in _NOT_ALLOWED:
        return Retry(
            f"the model registry refuses the login, or what it may do: {error.status} {error.message}"
        )
    return Retry(f"the model registry does not answer: {error!r}")
