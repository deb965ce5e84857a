"""Tokens against an issuer that runs here."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shotwatch_operations.api_keys import make_key
from shotwatch_query.access import Access, Caller
from shotwatch_query.access import issuer as issuer_module
from shotwatch_query.access.issuer import Issuer
from shotwatch_query.access.key_ring import KeyRing
from shotwatch_query.errors import NotAdmitted, Unavailable
from shotwatch_shots.vocabulary import Scope
from tests.issuer import AUDIENCE, Provider, served

pytestmark = pytest.mark.slow


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
async def test_a_valid_token_reports_who_asks_and_the_scopes_that_are_ours(
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


UNUSUAL_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "never",
    "\ud800",
    "x" * 5000,
    [],
    [[]],
    [None],
    [["read"]],
    ["read"] * 3000,
    {},
    {"read": {"read": "read"}},
]


def forged_json(provider: Provider, payload: bytes, header: bytes = b'{"alg":"RS256","kid":"first"}') -> str:
    """A token that the issuer signed, of whatever bytes."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    key = provider.keys["first"]
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = key.sign(signed, PKCS1v15(), SHA256())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def claims_of(provider: Provider, **anomalous: Any) -> bytes:
    baselines = {"iss": provider.url, "aud": AUDIENCE, "sub": "amelie", "exp": int(time.time()) + 60}
    return json.dumps({**baselines, "scope": "read", **anomalous}).encode()


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "scp", "jti"])
@pytest.mark.parametrize("value", UNUSUAL_VALUES, ids=lambda value: repr(value)[:20])
async def test_a_claim_of_an_unusual_type_or_size_is_refused_or_taken_for_what_it_is(
    provider: Provider, issuer: Issuer, claim: str, value: Any
) -> None:
    token = forged_json(provider, claims_of(provider, **{claim: value}))
    try:
        known = await issuer.verify(token)
    except NotAdmitted:
        return
    assert claim not in ("iss", "aud", "exp")
    assert known.scopes <= {Scope.READ}


@pytest.mark.parametrize("scope", [7, {"read": 1}, [["read"]], ["read", None], True, None])
async def test_scopes_that_are_no_words_are_refused(provider: Provider, issuer: Issuer, scope: Any) -> None:
    with pytest.raises(NotAdmitted, match="scopes"):
        await issuer.verify(forged_json(provider, claims_of(provider, scope=scope)))


@pytest.mark.parametrize("subject", ["", "a\x1b[2J", "\u202eadmin", "x" * 256, "ü"])
async def test_a_subject_that_could_not_stand_in_the_audit_is_refused(
    provider: Provider, issuer: Issuer, subject: str
) -> None:
    with pytest.raises(NotAdmitted, match="sub"):
        await issuer.verify(forged_json(provider, claims_of(provider, sub=subject)))


DEEP = b"[" * 5000


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (DEEP, b"{}"),
        (b'{"alg":"RS256","kid":' + DEEP, b"{}"),
        (b'{"alg":"RS256","kid":["first"]}', b"{}"),
        (b'{"alg":"RS256","kid":{}}', b"{}"),
        (b'{"alg":["RS256"],"kid":"first"}', b"{}"),
        (b'{"alg":"RS256","kid":"first","crit":[' + b"1" * 4500 + b"]}", b"{}"),
        (b'["alg"]', b"{}"),
        (b"null", b"{}"),
        (b"\xff\xfe", b"{}"),
        (b'{"alg":"RS256","kid":"first"}', DEEP),
        (b'{"alg":"RS256","kid":"first"}', b'{"scope":' + DEEP),
        (b'{"alg":"RS256","kid":"first"}', b'{"exp":' + b"9" * 5000 + b"}"),
        (b'{"alg":"RS256","kid":"first"}', b'{"exp":1e999}'),
        (b'{"alg":"RS256","kid":"first"}', b"[]"),
        (b'{"alg":"RS256","kid":"first"}', b"7"),
    ],
    ids=range(15),
)
async def test_a_token_of_unusual_or_nested_json_is_refused(
    provider: Provider, issuer: Issuer, header: bytes, payload: bytes
) -> None:
    with pytest.raises(NotAdmitted):
        await issuer.verify(forged_json(provider, payload, header))


@given(st.text(max_size=200) | st.lists(st.binary(max_size=80), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_at_all_breaks_the_check(parts: str | list[bytes]) -> None:
    token = parts if isinstance(parts, str) else ".".join(base64.urlsafe_b64encode(p).decode() for p in parts)
    unused = cast(aiohttp.ClientSession, None)

    async def check() -> None:
        issuer = Issuer("https://issuer.example", AUDIENCE, unused)
        issuer._may_fetch_at = float("inf")
        with pytest.raises(NotAdmitted):
            await issuer.verify(token)

    asyncio.run(check())


async def test_a_token_that_is_too_long_is_not_even_read(issuer: Issuer) -> None:
    with pytest.raises(NotAdmitted, match="more than"):
        await issuer.verify("a" * 100_000)


async def test_an_issuer_that_hangs_delays_nobody_whose_key_is_known(
    provider: Provider, issuer: Issuer, without_pause: None
) -> None:
    known = provider.token("first")
    await issuer.verify(known)
    provider.answering.clear()
    waiting = asyncio.create_task(issuer.verify(provider.token("unknown", key=provider.keys["first"])))
    while provider.asked < 2:
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        for _ in range(20):
            assert (await issuer.verify(known)).subject == "amelie"
    assert not waiting.done()
    provider.answering.set()
    with pytest.raises(NotAdmitted):
        await waiting


async def test_keys_are_fetched_again_in_the_background(
    provider: Provider, issuer: Issuer, without_pause: None
) -> None:
    known = provider.token("first")
    await issuer.verify(known)
    issuer._fetched_at -= issuer_module._FRESH_S
    provider.answering.clear()
    async with asyncio.timeout(2):
        for _ in range(20):
            await issuer.verify(known)
    provider.answering.set()
    while issuer._fetch is not None:
        await asyncio.sleep(0)
    assert provider.asked == 2


async def test_keys_survive_an_outage_for_a_day_and_no_longer(provider: Provider) -> None:
    async with served(provider), aiohttp.ClientSession() as session:
        issuer = Issuer(provider.url, AUDIENCE, session)
        token = provider.token("first")
        await issuer.verify(token)
    async with aiohttp.ClientSession() as session:
        issuer._session = session
        issuer._fetched_at -= issuer_module._KEPT_S - 60
        issuer._may_fetch_at = 0.0
        assert (await issuer.verify(token)).subject == "amelie"
        while issuer._fetch is not None:
            await asyncio.sleep(0)
        issuer._fetched_at -= 120
        with pytest.raises(Unavailable):
            await issuer.verify(token)


async def test_a_failure_is_remembered_and_many_who_wait_cause_one_fetch(provider: Provider) -> None:
    refusing = Provider(keys=provider.keys)
    async with served(refusing), aiohttp.ClientSession() as session:
        issuer = Issuer(refusing.url, AUDIENCE, session)
        token, refusing.url = refusing.token("first"), "http://elsewhere.example"
        for _ in range(3):
            results = await asyncio.gather(*(issuer.verify(token) for _ in range(50)), return_exceptions=True)
            assert {type(each) for each in results} == {Unavailable}
    assert refusing.asked == 1


@pytest.mark.parametrize(
    "published",
    [[], 7, {"keys": 7}, {"keys": [7, {}]}, {"keys": [{"kty": "RSA", "n": 7, "e": []}]}, ["x" * 2**21]],
    ids=range(6),
)
async def test_an_issuer_that_publishes_something_else_is_away(
    provider: Provider, issuer: Issuer, published: Any
) -> None:
    provider.published = published
    with pytest.raises(Unavailable):
        await issuer.verify(provider.token("first"))


def _private_key() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key)), "kid": "first"}


@pytest.mark.parametrize(
    "unusable",
    [
        {**_private_key(), "alg": "RS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "first", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "first"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "first", "alg": "none"},
    ],
    ids=["private", "symmetric", "symmetric without algorithm", "of no algorithm"],
)
async def test_a_published_key_that_checks_no_token_is_not_used(
    provider: Provider, issuer: Issuer, unusable: dict[str, Any]
) -> None:
    provider.published = {"keys": [unusable]}
    for _ in range(2):
        with pytest.raises(Unavailable):
            await issuer.verify(provider.token("first"))
    assert provider.asked == 1, "a failed fetch is followed by a pause"


async def test_a_key_beside_others_that_are_not_usable_is_used(provider: Provider, issuer: Issuer) -> None:
    usable = jwt.algorithms.RSAAlgorithm.to_jwk(provider.keys["first"].public_key())
    provider.published = {
        "keys": [None, {"kty": "??"}, _private_key(), {**json.loads(usable), "kid": "first"}]
    }
    assert (await issuer.verify(provider.token("first"))).subject == "amelie"


async def test_of_endless_keys_the_first_are_used(provider: Provider, issuer: Issuer) -> None:
    usable = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(provider.keys["first"].public_key()))
    provider.published = {"keys": [{**usable, "kid": f"{n}"} for n in range(101)]}
    assert (await issuer.verify(provider.token("99", key=provider.keys["first"]))).subject == "amelie"
    with pytest.raises(NotAdmitted, match="no such key"):
        await issuer.verify(provider.token("100", key=provider.keys["first"]))


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


async def test_a_token_proves_nothing_where_no_issuer_is_named(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(NotAdmitted):
        await Access(KeyRing(tmp_path / "keys")).caller(provider.token("first"))
