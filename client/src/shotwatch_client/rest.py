"""Requests to the REST API: a few at once, repeated where that is safe, and bounded in size."""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import TypeVar
from urllib.parse import urlencode

import httpx

from shotwatch_client.answer import Answer
from shotwatch_client.errors import (
    NoData,
    NotAccepted,
    NotPermitted,
    NotReachable,
    ShotwatchError,
    UnexpectedAnswer,
)

AT_ONCE = 4
"""Maximum number of requests of one client at a time, besides its event streams."""
ATTEMPTS = 6
"""Maximum number of attempts of a request that may be repeated; the pauses add up to half a minute."""
FIRST_PAUSE_S = 1.0
"""Pause after the first failed attempt, in seconds. Each pause is twice as long as the one before."""
LONGEST_PAUSE_S = 30.0
TIMEOUT_S = 60.0
"""Timeout for the next piece of an answer, in seconds."""
STREAM_TIMEOUT_S = 45.0
"""Timeout for the next piece of a stream, in seconds: the server sends a comment every 15 s."""
MOST_JSON_BYTES = 16 * 2**20
"""Maximum size of a JSON answer: a page of 1,000 rows of up to 16 kB, as the server reserves for it."""
MOST_ERROR_BYTES = 64 * 1024
MOST_PAGES = 10_000
"""Maximum number of pages of a search. A page may have no rows and yet a next one."""

Value = str | int | float | bool | Sequence[str] | None
Query = Mapping[str, Value]
"""The parameters of a request; those that are None are left out."""
Item = TypeVar("Item")
Result = TypeVar("Result")

_BUSY = (429, 503)
_ADVICE = {
    401: "Pass a key that `shotwatch keys create` made, or set SHOTWATCH_API_KEY",
    403: "Ask for a key with this scope: `shotwatch keys create --scope …`",
    409: "Another key or token may still do it",
    422: "Change the arguments",
    429: "Wait, or ask for less at a time",
    500: "The log of the query service has the details",
    503: "Try again later; `shotwatch doctor` shows which server is away",
}


class Postponed(Exception):
    """An attempt that failed in a way that another one may not."""

    def __init__(self, failure: ShotwatchError, wait_s: float | None = None) -> None:
        super().__init__(failure)
        self.failure = failure
        self.wait_s = wait_s
        """Pause that the server asks for, in seconds."""


class Rest:
    """A connection to one REST API. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.sleep = sleep
        self._slots = BoundedSemaphore(AT_ONCE)
        # `identity`: a compressed answer could be larger in memory than on the wire.
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=ssl.create_default_context(),
            transport=transport,
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str, **query: Value) -> Answer:
        """Return a JSON document. Raises as `get_bytes` does."""
        data = self.get_bytes(path, MOST_JSON_BYTES, **query)
        return _parsed(describe("GET", path, query), data)

    def get_bytes(self, path: str, most_bytes: int, **query: Value) -> bytes:
        """Return the body of an answer; repeat the request while the server is away or too busy.

        Raises:
            NotReachable: all attempts failed, or the server asks for a longer pause than LONGEST_PAUSE_S.
            NotPermitted, NoData, NotAccepted: the server refused the request.
            UnexpectedAnswer: the body has more than `most_bytes`, or the server has a fault.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask("GET", path, most_bytes, query)
            except Postponed as postponed:
                if attempt == ATTEMPTS or (postponed.wait_s or 0) > LONGEST_PAUSE_S:
                    raise postponed.failure from postponed.__cause__
                self.pause(attempt, postponed.wait_s)
        raise AssertionError("the last attempt returns or raises")

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """Send a body once and return the JSON document of the answer. Raises as `change` does."""
        return _parsed(describe("POST", path, {}), self.change("POST", path, body))

    def change(self, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """Request a change once, and return the body of the answer.

        It is not repeated: after a broken connection nobody knows whether the server has done it. Raises as
        `get_bytes` does.
        """
        try:
            return self._ask(method, path, MOST_JSON_BYTES, {}, body)
        except Postponed as postponed:
            raise postponed.failure from postponed.__cause__

    def pause(self, attempt: int, wait_s: float | None = None) -> None:
        """Wait before another attempt, twice as long after each one, or as long as the server asks for."""
        backoff_s = min(FIRST_PAUSE_S * 2 ** min(attempt - 1, 10), LONGEST_PAUSE_S)
        self.sleep(backoff_s if wait_s is None else min(wait_s, LONGEST_PAUSE_S))

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the results of a function that makes requests, in order; AT_ONCE of them run at a time."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            futures = [threads.submit(function, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], **query: Value) -> Iterator[Iterator[bytes]]:
        """Open an endless answer, which takes none of the AT_ONCE requests; yield its pieces.

        Raises:
            Postponed: the server is away or too busy, or the connection broke.
            NotPermitted, NoData, NotAccepted, UnexpectedAnswer: as `get_bytes`.
        """
        with self._opened("GET", path, query, headers=headers, timeout=STREAM_TIMEOUT_S) as answer:
            yield answer.iter_bytes()

    def _ask(
        self,
        method: str,
        path: str,
        most_bytes: int,
        query: Query,
        body: Mapping[str, object] | None = None,
    ) -> bytes:
        with self._slots, self._opened(method, path, query, json=body) as answer:
            data = _at_most(answer, most_bytes)
        if data is None:
            reported = f"the answer has more than the {most_bytes:,} bytes asked for"
            raise UnexpectedAnswer(describe(method, path, query), reported)
        return data

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        query: Query,
        json: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_S,
    ) -> Iterator[httpx.Response]:
        """Yield a successful answer before its body is read.

        Raises:
            Postponed: the server is away or too busy, or the connection broke, also while the body is read.
            ShotwatchError: the server refused the request.
        """
        asked, given = describe(method, path, query), _given(query)
        request = self._client.stream(method, path, params=given, json=json, headers=headers, timeout=timeout)
        try:
            with request as answer:
                if not answer.is_success:
                    raise _failure(asked, answer)
                yield answer
        except httpx.RequestError as error:
            away = f"{self._client.base_url} does not answer: {error or type(error).__name__}"
            advice = "Check the address, and that the server runs: `shotwatch status`"
            raise Postponed(NotReachable(asked, away, advice)) from error


def describe(method: str, path: str, query: Query) -> str:
    """Return a request as text for an error."""
    given = urlencode(_given(query), doseq=True)
    return f"{method} {path}" + (f"?{given}" if given else "")


def while_few_pages(path: str) -> Iterator[int]:
    """Yield the number of each page that may be asked for.

    Raises:
        UnexpectedAnswer: there are more than MOST_PAGES.
    """
    yield from range(MOST_PAGES)
    raise UnexpectedAnswer(f"GET {path}", f"more than {MOST_PAGES:,} pages", "Narrow the span")


def _given(query: Query) -> dict[str, str | int | float | Sequence[str]]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }


def _at_most(answer: httpx.Response, most_bytes: int) -> bytes | None:
    """Return the body of an answer; None if it is larger."""
    data = bytearray()
    for piece in answer.iter_bytes():
        data += piece
        if len(data) > most_bytes:
            return None
    return bytes(data)


def _failure(asked: str, answer: httpx.Response) -> ShotwatchError | Postponed:
    """Return the error for an answer that is not a success."""
    status = answer.status_code
    reported = f"{status} {answer.reason_phrase}: {_detail(_at_most(answer, MOST_ERROR_BYTES) or b'')}"
    advice = _ADVICE.get(status, "")
    if status in _BUSY:
        return Postponed(NotReachable(asked, reported, advice), _wait_s(answer))
    if status in (401, 403):
        return NotPermitted(asked, reported, advice)
    if status == 404:
        return NoData(asked, reported, advice)
    if 400 <= status < 500:
        return NotAccepted(asked, reported, advice)
    return UnexpectedAnswer(asked, reported, advice)


def _wait_s(answer: httpx.Response) -> float | None:
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else None


def _detail(body: bytes) -> str:
    """Return the message of a problem document (RFC 9457) with its mistakes, or the beginning of the body."""
    try:
        problem = Answer("", json.loads(body))
        mistakes = [f"{each.text('where')}: {each.text('what')}" for each in problem.rows("mistakes")]
        excerpt = problem.texts("excerpt") if "excerpt" in problem.mapping() else ()
        return "\n".join(["; ".join([problem.text("detail"), *mistakes]), *excerpt])
    except (ValueError, RecursionError, UnexpectedAnswer):
        return body[:200].decode(errors="replace").strip() or "no reason given"


def _parsed(asked: str, data: bytes) -> Answer:
    try:
        return Answer(asked, json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(
            asked, "the answer is not JSON", "Is this the address of shotwatch?"
        ) from error
