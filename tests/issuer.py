"""An OpenID Connect issuer of the tests' own: its discovery and keys over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "shotwatch"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass
class Provider:
    """An issuer with keys of its own."""

    url: str = ""
    keys: dict[str, Key] = field(default_factory=dict)
    asked: int = 0
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, it hangs."""

    published: Any = None
    """What it publishes in the place of its keys."""

    def __post_init__(self) -> None:
        self.answering.set()

    def rotate(self, kid: str, key: Key | None = None) -> None:
        self.keys = {kid: key or rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def token(self, kid: str = "", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A reader's token, signed with the key of that name or the present one; None leaves a claim out."""
        kid, now = kid or next(iter(self.keys)), int(time.time())
        reported = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "amelie",
            "exp": now + 60,
            "scope": "read",
            **claims,
        }
        reported = {name: value for name, value in reported.items() if value is not None}
        return jwt.encode(reported, key or self.keys[kid], algorithm, headers={"kid": kid})

    async def describe(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.answering.wait()
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def publish(self, _request: web.Request) -> web.Response:
        if self.published is not None:
            return web.json_response(self.published)
        return web.json_response({"keys": [_published(kid, key) for kid, key in self.keys.items()]})


def _published(kid: str, key: Key) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider.describe)
    app.router.add_get("/keys", provider.publish)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()
