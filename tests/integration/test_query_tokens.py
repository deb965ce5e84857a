"""Tokens of an OpenID Connect issuer, as a client of the running API shows them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from .query_world import World, raise_event
from .waiting import until


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.api.base_url, timeout=30) as client:
        yield client


def shown(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_whoever_shows_a_token_may_do_what_its_scopes_state(
    world: World, client: httpx.AsyncClient
) -> None:
    reader = shown(world.issuer.token())
    assert (await client.get("/shots", headers=reader)).status_code == 200
    caller = (await client.get("/caller", headers=reader)).json()
    assert (caller["name"], caller["scopes"]) == ("oidc:amelie", ["read"])


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "another"}, "Audience"),
        ({"exp": 1}, "expired"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"kid": "invented", "key": rsa.generate_private_key(65537, 2048)}, "publishes no such key"),
        ({"key": rsa.generate_private_key(65537, 2048)}, "Signature"),
    ],
    ids=["another audience", "expired", "another issuer", "unknown key", "forged"],
)
async def test_a_token_that_is_not_for_us_or_not_valid_is_refused_with_the_reason(
    world: World, client: httpx.AsyncClient, claims: dict[str, Any], why: str
) -> None:
    answer = await client.get("/shots", headers=shown(world.issuer.token(**claims)))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert why in answer.json()["detail"]


async def test_a_scope_that_the_token_lacks_is_named_and_the_try_is_audited(
    world: World, client: httpx.AsyncClient
) -> None:
    event = await raise_event(world, 8)
    feedback = f"/events/{event.id}/feedback"
    opinion = {"action": "acknowledged", "who": "amelie"}
    token = world.issuer.token(sub="curious", scope="openid read")
    refused = await client.post(feedback, json=opinion, headers=shown(token))
    assert refused.headers["content-type"] == "application/problem+json"
    lacking = "oidc:curious lacks the scope `label`"
    assert (refused.status_code, refused.json()["detail"]) == (403, lacking)
    assert (await client.get("/audit", headers=shown(token))).status_code == 403
    auditor = shown(world.issuer.token(scope="admin"))
    changes = (await client.get("/audit", headers=auditor)).json()["changes"]
    tried = [change for change in changes if change["who"] == "oidc:curious"]
    assert [(each["what"], each["outcome"]) for each in tried] == [("give_feedback", "refused")]


async def test_keys_that_the_issuer_exchanges_are_taken_up_and_the_old_ones_count_no_more(
    world: World, client: httpx.AsyncClient
) -> None:
    before = shown(world.issuer.token())
    assert (await client.get("/facility", headers=before)).status_code == 200
    world.issuer.rotate("second")
    after = shown(world.issuer.token())

    async def let_in() -> bool:
        return (await client.get("/facility", headers=after)).status_code == 200

    await until(let_in, "let in by the new key")
    assert (await client.get("/facility", headers=before)).status_code == 401
