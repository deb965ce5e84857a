"""Tokens of an OpenID Connect issuer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiohttp
import jwt

from shotwatch_common.vocabulary import Scope
from shotwatch_query.errors import NotAdmitted, Unavailable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones alone: whoever can check a token must not be able to make one."""
_REQUIRED = ["exp", "iss", "aud", "sub"]
_LEEWAY_S = 30
"""By how much clocks may differ."""
_FRESH_S = 3600.0
_PAUSE_S = 3.0
"""Between two looks for keys, however many tokens name one that does not exist."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    subject: str
    scopes: frozenset[Scope]


class Issuer:
    """Checks tokens against the issuer's published keys.

    These are fetched when first needed, every hour, and when a token names one that is not known: issuers
    change them.
    """

    def __init__(self, url: str, audience: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._audience = audience
        self._session = session
        self._fetching = asyncio.Lock()
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched_at = -_FRESH_S

    async def verify(self, token: str) -> Claims:
        """
        Raises:
            NotAdmitted: the token is not one of this issuer for us, or not valid now.
            Unavailable: the issuer is away.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._url,
                leeway=_LEEWAY_S,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise NotAdmitted(f"this token is not valid: {error}", shown=True) from error
        return Claims(str(claims["sub"]), _scopes(claims))

    async def _key(self, kid: str | None) -> jwt.PyJWK:
        async with self._fetching:
            age = monotonic() - self._fetched_at
            if age >= _FRESH_S or (kid not in self._keys and age >= _PAUSE_S):
                self._keys = await self._published_keys()
                self._fetched_at = monotonic()
        if kid not in self._keys:
            raise jwt.InvalidTokenError("its issuer publishes no such key")
        return self._keys[kid]

    async def _published_keys(self) -> Mapping[str | None, jwt.PyJWK]:
        described = await self._get(f"{self._url.rstrip('/')}/.well-known/openid-configuration")
        if described.get("issuer") != self._url:
            raise Unavailable(f"the issuer {self._url} calls itself {described.get('issuer')}")
        published = await self._get(str(described.get("jwks_uri")))
        try:
            return {key.key_id: key for key in jwt.PyJWKSet.from_dict(published).keys}
        except jwt.PyJWTError as error:
            raise Unavailable(f"the keys of the issuer {self._url} cannot be read: {error}") from error

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            async with self._session.get(url, raise_for_status=True) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"the issuer {self._url} does not answer: {error!r}") from error


def _scopes(claims: Mapping[str, Any]) -> frozenset[Scope]:
    """Of the claim `scope` (RFC 9068), or `scp` as some issuers call it: a list, or words in a string."""
    told = claims.get("scope", claims.get("scp", ()))
    words = told.split() if isinstance(told, str) else told
    return frozenset(Scope) & frozenset(words)
