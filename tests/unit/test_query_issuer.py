"""Tokens against an issuer that runs here."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shotwatch_common.api_keys import make_key
from shotwatch_common.vocabulary import Scope
from shotwatch_query.access import Access, Caller
from shotwatch_query.access import issuer as issuer_module
from shotwatch_query.access.issuer import Issuer
from shotwatch_query.access.key_ring import KeyRing
from shotwatch_query.errors import NotAdmitted, Unavailable
from tests.issuer import AUDIENCE, Provider, served


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    made.rotate("first")
    async with served(made):
        yield made


@pytest.fixture
async def issuer(provider: Provider) -> AsyncIterator[Issuer]:
    async with aiohttp.ClientSession() as session:
        yield Issuer(provider.url, AUDIENCE, session)


@pytest.fixture
def without_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(issuer_module, "_PAUSE_S", 0.0)
    return


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "openid read label"}, {Scope.READ, Scope.LABEL}),
        ({"scope": None, "scp": ["read", "admin", "other"]}, {Scope.READ, Scope.ADMIN}),
        ({"scope": None, "scp": "label"}, {Scope.LABEL}),
        ({"scope": None}, set()),
        ({"scope": ""}, set()),
    ],
)
async def test_a_valid_token_tells_who_asks_and_the_scopes_that_are_ours(
    provider: Provider, issuer: Issuer, claims: dict[str, Any], scopes: set[Scope]
) -> None:
    known = await issuer.verify(provider.token("first", **claims))
    assert (known.subject, known.scopes) == ("amelie", scopes)


async def test_a_token_signed_on_an_elliptic_curve_is_as_good(provider: Provider, issuer: Issuer) -> None:
    provider.rotate("curve", ec.generate_private_key(ec.SECP256R1()))
    assert (await issuer.verify(provider.token("curve", "ES256"))).subject == "amelie"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 2**31},
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
    ],
    ids=str,
)
async def test_a_token_of_another_time_issuer_or_audience_is_refused(
    provider: Provider, issuer: Issuer, claims: dict[str, Any]
) -> None:
    with pytest.raises(NotAdmitted):
        await issuer.verify(provider.token("first", **claims))


async def test_a_token_that_nobody_signed_is_refused(provider: Provider, issuer: Issuer) -> None:
    signed = provider.token("first")
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}').rstrip(b"=").decode()
    with pytest.raises(NotAdmitted):
        await issuer.verify(f"{header}.{signed.split('.')[1]}.")


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    provider: Provider, issuer: Issuer
) -> None:
    # PyJWT refuses to make such a token, so it is made by hand.
    public = provider.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').rstrip(b"=").decode()
    body = f"{header}.{provider.token('first').split('.')[1]}"
    signature = base64.urlsafe_b64encode(hmac.new(public, body.encode(), hashlib.sha256).digest())
    with pytest.raises(NotAdmitted):
        await issuer.verify(f"{body}.{signature.rstrip(b'=').decode()}")


async def test_a_token_signed_with_another_key_of_the_same_name_is_refused(
    provider: Provider, issuer: Issuer
) -> None:
    forged = provider.token("first", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(NotAdmitted):
        await issuer.verify(forged)


async def test_no_token_at_all_is_refused(issuer: Issuer) -> None:
    with pytest.raises(NotAdmitted):
        await issuer.verify("neither.header nor body")


async def test_keys_that_are_exchanged_are_fetched_and_the_old_ones_count_no_more(
    provider: Provider, issuer: Issuer, without_pause: None
) -> None:
    before = provider.token("first")
    await issuer.verify(before)
    provider.rotate("second")
    assert (await issuer.verify(provider.token("second"))).subject == "amelie"
    with pytest.raises(NotAdmitted):
        await issuer.verify(before)


async def test_invented_keys_do_not_make_us_ask_the_issuer_each_time(
    provider: Provider, issuer: Issuer
) -> None:
    await issuer.verify(provider.token("first"))
    for n in range(5):
        with pytest.raises(NotAdmitted):
            await issuer.verify(provider.token(f"invented-{n}", key=provider.keys["first"]))
    assert provider.asked == 1


async def test_an_issuer_that_is_away_or_calls_itself_otherwise_is_no_fault_of_the_caller(
    provider: Provider,
) -> None:
    token = provider.token("first")
    async with aiohttp.ClientSession() as session:
        for url in ("http://127.0.0.1:9", provider.url + "/"):
            with pytest.raises(Unavailable):
                await Issuer(url, AUDIENCE, session).verify(token)


async def test_keys_and_tokens_are_let_in_side_by_side(
    provider: Provider, issuer: Issuer, tmp_path: Path
) -> None:
    secret, key = make_key("amelie", frozenset({Scope.LABEL}), None)
    (tmp_path / "keys").write_text(key.line())
    access = Access(KeyRing(tmp_path / "keys"), issuer)
    assert await access.caller(secret) == Caller("amelie", frozenset({Scope.LABEL}))
    assert await access.caller(provider.token("first")) == Caller("oidc:amelie", frozenset({Scope.READ}))
    for shown in (None, "", "shotwatch_unknown", "unknown"):
        with pytest.raises(NotAdmitted):
            await access.caller(shown)


async def test_a_token_says_nothing_where_no_issuer_is_named(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(NotAdmitted):
        await Access(KeyRing(tmp_path / "keys")).caller(provider.token("first"))
