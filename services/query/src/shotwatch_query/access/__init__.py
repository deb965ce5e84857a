"""Access to the REST API: API keys and tokens of an OpenID Connect issuer, each with scopes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp

from shotwatch_operations.api_keys import PREFIX
from shotwatch_query.access.issuer import Issuer
from shotwatch_query.access.key_ring import KeyRing
from shotwatch_query.errors import NotAdmitted
from shotwatch_query.settings import QuerySettings
from shotwatch_shots.vocabulary import Scope

_TIMEOUT = aiohttp.ClientTimeout(total=3)
"""Timeout for a response of the issuer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of the API, under the name shown in the audit: that of the key, or `oidc:subject`."""

    name: str
    scopes: frozenset[Scope]


ANYBODY = Caller("anybody", frozenset(Scope))
"""The caller of an open API, which requires no key."""


@dataclass(frozen=True, slots=True)
class Access:
    """The keys and the issuer that identify callers; without both, everybody may do everything."""

    keys: KeyRing | None = None
    issuer: Issuer | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: QuerySettings) -> AsyncIterator[Self]:
        """Open the access that the settings describe, and close it on exit.

        Raises:
            SettingsError: the keys file cannot be read.
        """
        keys = None if settings.query_keys_file is None else KeyRing(settings.query_keys_file)
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            url, audience = settings.query_oidc_issuer, settings.query_oidc_audience
            issuer = Issuer(url, audience, session) if url and audience else None
            try:
                yield cls(keys, issuer)
            finally:
                if issuer is not None:
                    await issuer.close()

    @property
    def required(self) -> bool:
        """Whether callers must present a key or token."""
        return self.keys is not None or self.issuer is not None

    async def caller(self, credential: str | None) -> Caller:
        """Return the caller to whom this key or token belongs.

        Raises:
            NotAdmitted: none is presented, or it is not valid (any more).
            Unavailable: the issuer does not answer.
        """
        if not self.required:
            return ANYBODY
        if not credential:
            raise NotAdmitted("send an API key or a token: `Authorization: Bearer …`")
        if credential.startswith(PREFIX) or self.issuer is None:
            return self._holder(credential)
        claims = await self.issuer.verify(credential)
        return Caller(f"oidc:{claims.subject}", claims.scopes)

    def _holder(self, secret: str) -> Caller:
        key = self.keys.find(secret) if self.keys else None
        if key is None:
            raise NotAdmitted("this key is unknown, revoked or expired", shown=True)
        return Caller(key.name, key.scopes)
