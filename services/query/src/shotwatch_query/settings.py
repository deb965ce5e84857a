"""Settings of the query service."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shotwatch_common.settings import HttpUrl, Port, PositiveFloat, PositiveInt, Settings


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached only from this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(url: str) -> str:
    """Require HTTPS or loopback: keys that anybody on the network can replace prove nothing."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("not https://…")
    return url


def _for_any_trace(url: str) -> str:
    if "{trace_id}" not in url:
        raise ValueError("no `{trace_id}` in it")
    return url


def _networks(text: str) -> str:
    for each in filter(None, map(str.strip, text.split(","))):
        ip_network(each)
    return text


class QuerySettings(Settings):
    """The settings that all services share, the address of the REST API, and its access and limits."""

    query_host: str = "127.0.0.1"
    """Address on which the REST API is served."""
    query_port: Port
    """Port of the REST API."""
    query_keys_file: Path | None = None
    """File of accepted API keys, one line each from `shotwatch keys create`; read again when it changes."""
    query_oidc_issuer: Annotated[HttpUrl, AfterValidator(_private)] | None = None
    """OpenID Connect issuer whose tokens are accepted, exactly as it appears in them."""
    query_oidc_audience: str | None = Field(None, min_length=1)
    """Name of this API in the claim `aud` of these tokens."""
    query_trace_url: Annotated[HttpUrl, AfterValidator(_for_any_trace)] | None = None
    """Address at which the operators' page shows a trace, with `{trace_id}` in it."""
    query_open: bool = False
    """Accept all requests if neither a keys file nor an issuer is configured; on loopback only."""

    query_proxies: Annotated[str, AfterValidator(_networks)] | None = None
    """Addresses or networks of trusted proxies, separated by commas, which set `X-Forwarded-…` headers."""
    query_requests_per_second: PositiveFloat = 200
    """Requests per second of one caller, with bursts of ten seconds' worth. A change counts as twenty."""
    query_strangers_per_second: PositiveFloat = 20
    """Requests per second of one address without a valid key or token, with bursts of ten seconds' worth."""
    query_streams_per_caller: PositiveInt = 20
    """Maximum number of event streams of one caller, of the 100 that a replica has."""
    query_connections: PositiveInt = 500
    """Maximum number of open connections to the REST API. Each takes a file descriptor."""
    query_connections_per_address: PositiveInt = 200
    """Maximum number of open connections from one address that is not a proxy."""

    @model_validator(mode="after")
    def _require_authentication(self) -> Self:
        if (self.query_oidc_issuer is None) != (self.query_oidc_audience is None):
            raise ValueError("set both SHOTWATCH_QUERY_OIDC_ISSUER and SHOTWATCH_QUERY_OIDC_AUDIENCE")
        if self.query_open and not is_loopback(self.query_host):
            raise ValueError("SHOTWATCH_QUERY_OPEN requires SHOTWATCH_QUERY_HOST=127.0.0.1")
        if not (self.query_keys_file or self.query_oidc_issuer or self.query_open):
            raise ValueError(
                "no caller could log in: set SHOTWATCH_QUERY_KEYS_FILE (`shotwatch keys create` makes"
                " such a file), or SHOTWATCH_QUERY_OIDC_ISSUER and SHOTWATCH_QUERY_OIDC_AUDIENCE"
            )
        return self
