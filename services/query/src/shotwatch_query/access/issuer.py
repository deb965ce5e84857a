"""Validation of the tokens of an OpenID Connect issuer."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import aiohttp
import jwt
import structlog

from shotwatch_query.errors import NotAdmitted, Unavailable
from shotwatch_shots.vocabulary import Scope

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric algorithms only: whoever can check a token must not be able to create one."""
_REQUIRED = ["exp", "iss", "aud", "sub"]
_LEEWAY_S = 30
"""Maximum difference between clocks, in seconds."""
_FRESH_S = 3600.0
"""Age from which keys are fetched again in the background, in seconds."""
_KEPT_S = 86_400.0
"""Maximum age of keys in seconds, even if the issuer does not answer: it may have withdrawn them."""
_PAUSE_S = 3.0
"""Minimum pause between two fetches in seconds, however many tokens name an unknown key."""
_PAUSE_AFTER_FAILURE_S = 15.0
_MOST_BYTES = 2**20
"""Maximum size of a response of the issuer."""
_MOST_KEYS = 100
"""Maximum number of published keys that are used; reading one takes up to a millisecond."""
_PRIVATE = "d"
"""The parameter that only private keys have (RFC 7518, 6.2.2 and 6.3.2, and RFC 8037, 2)."""
_LONGEST_TOKEN = 16 * 1024
_LONGEST_SUBJECT = 255
"""Maximum length of a subject in ASCII characters: OpenID Connect Core 1.0, section 2."""
_LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, in epoch seconds."""
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""Exceptions that the library raises on claims of unexpected types, and on JSON that is nested too deeply."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid token."""

    subject: str
    scopes: frozenset[Scope]


class Issuer:
    """The issuer, against whose published keys tokens are checked.

    Keys are fetched when first needed, every hour, and when a token names an unknown key, because issuers
    change them. One fetch runs at a time, and only tokens with an unknown key wait for it. After a failure
    there is a pause. The keys of the last successful fetch are used for a day.
    """

    def __init__(self, url: str, audience: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._audience = audience
        self._session = session
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at = -_KEPT_S
        self._may_fetch_at = 0.0
        self._failure: Unavailable | None = None
        """The failure of the last fetch, if it failed."""
        self._fetch: asyncio.Task[None] | None = None

    async def verify(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises:
            NotAdmitted: the token is not from this issuer, not for this API, or not valid now.
            Unavailable: the issuer does not answer.
        """
        if len(token) > _LONGEST_TOKEN:
            raise NotAdmitted(f"this token is not valid: it has more than {_LONGEST_TOKEN} characters", True)
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims: Mapping[str, object] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._url,
                leeway=_LEEWAY_S,
                options={"require": _REQUIRED},
            )
            _require_end(claims)
            return Claims(_subject(claims), _scopes(claims))
        except _UNREADABLE as error:
            raise NotAdmitted(f"this token is not valid: {error}", shown=True) from error

    async def close(self) -> None:
        """Cancel a running fetch."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    async def _key(self, kid: str | None) -> jwt.PyJWK:
        age = monotonic() - self._fetched_at
        usable = self._keys if age < _KEPT_S else {}
        if kid not in usable:
            await self._fetched()
            usable = self._keys
        elif age >= _FRESH_S:
            self._start_fetch()
        if kid not in usable:
            raise jwt.InvalidTokenError("its issuer publishes no such key")
        return usable[kid]

    async def _fetched(self) -> None:
        """Wait for a fetch, unless one ended a short time ago.

        Raises:
            Unavailable: it failed.
        """
        self._start_fetch()
        if self._fetch is not None:
            await asyncio.shield(self._fetch)
        if self._failure is not None:
            raise self._failure

    def _start_fetch(self) -> None:
        if self._fetch is None and monotonic() >= self._may_fetch_at:
            self._fetch = asyncio.create_task(self._fetch_keys())

    async def _fetch_keys(self) -> None:
        try:
            self._keys = await self._published_keys()
            self._fetched_at, self._failure = monotonic(), None
            self._may_fetch_at = monotonic() + _PAUSE_S
        except Unavailable as error:
            self._failure = error
            self._may_fetch_at = monotonic() + _PAUSE_AFTER_FAILURE_S
            structlog.get_logger().warning("keys of the issuer not fetched", why=str(error))
        finally:
            self._fetch = None

    async def _published_keys(self) -> Mapping[str | None, jwt.PyJWK]:
        described = await self._get(f"{self._url.rstrip('/')}/.well-known/openid-configuration")
        if described.get("issuer") != self._url:
            raise Unavailable(f"the issuer {self._url} calls itself {described.get('issuer')}")
        published = await self._get(str(described.get("jwks_uri")))
        keys = _public_keys(published.get("keys"))
        if not keys:
            raise Unavailable(f"the issuer {self._url} publishes no key with which tokens can be checked")
        return keys

    async def _get(self, url: str) -> dict[str, object]:
        try:
            async with self._session.get(url, raise_for_status=True) as response:
                answer = json.loads(await _read(response))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise Unavailable(f"the issuer {self._url} does not answer: {error!r}") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"the issuer {self._url} answers with something else than a JSON object")
        return answer


def _public_keys(listed: object) -> dict[str | None, jwt.PyJWK]:
    """Return the public keys of a key set by their ids, without those that this API cannot use.

    Others are not even read: the library would also take symmetric keys, and private ones. For each of these
    it computes the primes, which takes 50 ms.
    """
    keys = {}
    for each in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        if isinstance(each, dict) and _PRIVATE not in each and each.get("alg", ALGORITHMS[0]) in ALGORITHMS:
            with suppress(*_UNREADABLE):
                key = jwt.PyJWK(each)
                if key.algorithm_name in ALGORITHMS:
                    keys[key.key_id] = key
    return keys


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body.

    Raises:
        ValueError: it has more than _MOST_BYTES.
    """
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(body)


def _require_end(claims: Mapping[str, object]) -> None:
    """Require that the claim `exp` is a time within the calendar. (The library also accepts text and more.)

    Raises:
        ValueError: it is not.
    """
    end = claims["exp"]
    if isinstance(end, bool) or not isinstance(end, int | float) or end > _LAST_SECOND:
        raise ValueError("`exp` is not a number of seconds before the year 10000")


def _subject(claims: Mapping[str, object]) -> str:
    """Return the claim `sub`, the name of the caller in the audit.

    Raises:
        ValueError: it is empty, longer than allowed, or contains characters that are not visible ASCII.
    """
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise ValueError(f"`sub` is not a text of 1 to {_LONGEST_SUBJECT} characters")
    if not (subject.isascii() and subject.isprintable()):
        raise ValueError("`sub` has characters that are not visible ASCII")
    return subject


def _scopes(claims: Mapping[str, object]) -> frozenset[Scope]:
    """Return this API's scopes in the claim `scope` (RFC 9068), or in `scp` as some issuers call it.

    The claim is a list of words, or words in one text.

    Raises:
        ValueError: it is something else.
    """
    claimed = claims.get("scope", claims.get("scp", ()))
    words = claimed.split() if isinstance(claimed, str) else claimed
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("its scopes are neither a text nor a list of texts")
    return frozenset(Scope) & frozenset(words)
