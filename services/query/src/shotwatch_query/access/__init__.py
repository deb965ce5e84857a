"""Who may ask the REST API for what: API keys and tokens of an OpenID Connect issuer, each with scopes."""

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
"""For an answer of the issuer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, as the audit names them: by the name of the key, or as `oidc:subject`."""

    name: str
    scopes: frozenset[Scope]


ANYBODY = Caller("anybody", frozenset(Scope))
"""Who asks an API that is open."""


@dataclass(frozen=True, slots=True)
class Access:
    """The keys and the issuer by which callers are known; with neither, everybody may do everything."""

    keys: KeyRing | None = None
    issuer: Issuer | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, settings: QuerySettings) -> AsyncIterator[Self]:
        """
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
        """Whether callers must show a key or token."""
        return self.keys is not None or self.issuer is not None

    async def caller(self, credential: str | None) -> Caller:
        """Who shows this key or token.

        Raises:
            NotAdmitted: none is shown, or it is not (or no longer) a valid one.
            Unavailable: the issuer is away.
        """
        if not self.required:
            return ANYBODY
        if not credential:
            raise NotAdmitted("show an API key or a token: `Authorization: Bearer …`")
        if credential.startswith(PREFIX) or self.issuer is None:
            return self._holder(credential)
        claims = await self.issuer.verify(credential)
        return Caller(f"oidc:{claims.subject}", claims.scopes)

    def _holder(self, secret: str) -> Caller:
        key = self.keys.find(secret) if self.keys else None
        if key is None:
            raise NotAdmitted("this key is unknown, revoked or expired", shown=True)
        return Caller(key.name, key.scopes)
