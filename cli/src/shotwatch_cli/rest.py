"""A client of the REST API."""

import os
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from shotwatch_cli.failures import Failure
from shotwatch_cli.output import stderr
from shotwatch_common.settings import read_secret
from shotwatch_shots.event import AnomalyEvent

Primitive = str | int | float | None
Parameter = Primitive | list[str]
"""The value of a parameter of a query, or several."""
API_KEY = "SHOTWATCH_API_KEY"
"""The variable that holds the key or the token for the API."""
_PREFIX = "/api/v1"
TIMEOUT_S = 10
_PAGE = 500
_RESET = (
    "no event has the number {last} yet: the database was emptied, or an older copy restored; "
    "going on after {end}, the present end. `shotwatch tail --since 0` shows all there are"
)
_ADVICE = {
    401: f"set {API_KEY} to a key that `shotwatch keys create` made, or to a token",
    403: "ask for a key with this scope: `shotwatch keys create --scope …`",
}


class RestApi:
    """A client of the REST API.

    Every method raises Failure when the API does not answer, or reports a problem.

    The constructor raises SettingsError if the file that holds the key cannot be used.
    """

    def __init__(
        self, url: str, environment: Mapping[str, str] = os.environ, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=url + _PREFIX, headers=_credential(environment), timeout=timeout_s, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: Parameter) -> Any:
        """Return the JSON of the response."""
        return (await self._ask("GET", path, params=query)).json()

    async def get_response(self, path: str, **query: Parameter) -> httpx.Response:
        """Return the response, with its body."""
        return await self._ask("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Send a body and return the JSON of the response."""
        return (await self._ask("POST", path, json=body)).json()

    async def put(self, path: str, body: Mapping[str, object]) -> Any:
        """Send a body and return the JSON of the response."""
        return (await self._ask("PUT", path, json=body)).json()

    async def delete(self, path: str) -> None:
        await self._ask("DELETE", path)

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Parameter] | None = None,
        json: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        try:
            response = await self._client.request(method, path, params=params, json=json)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            message = f"the REST API reports: {_detail(error.response)}"
            raise Failure(message, _ADVICE.get(error.response.status_code, "")) from error
        except httpx.HTTPError as error:
            away = f"the REST API at {self._client.base_url} does not answer: {error!r}"
            raise Failure(
                away, "`shotwatch doctor` shows which server is unavailable and what to do"
            ) from error
        return response


class MissedEvents:
    """Stored events after a number; each call requests those after the last one that was returned.

    The number can lie beyond the last event, because the database was emptied or an older copy restored. Then
    a warning is written to stderr, and the next call continues from the current end.
    """

    def __init__(self, api: RestApi, since: int) -> None:
        self._api = api
        self._last = since

    async def __call__(self) -> AsyncIterator[AnomalyEvent]:
        more = True
        while more:
            page = await self._api.get("/events", since=self._last, limit=_PAGE)
            if page["reset"]:
                stderr.print(_RESET.format(last=self._last, end=page["last"]), soft_wrap=True)
            for event in page["events"]:
                yield AnomalyEvent.model_validate(event)
            self._last, more = page["last"], page["more"]


def _credential(environment: Mapping[str, str]) -> dict[str, str]:
    key = read_secret(API_KEY, environment)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _detail(response: httpx.Response) -> str:
    """Return the message of a problem document, and below it the place in an expression if it shows one."""
    try:
        problem = response.json()
        return "\n".join(map(str, (problem["detail"], *problem.get("excerpt", ()))))
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"
