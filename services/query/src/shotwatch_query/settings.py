"""Settings of the query service."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shotwatch_common.settings import HttpUrl, Port, PositiveFloat, PositiveInt, Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(url: str) -> str:
    """Keys that anybody on the way could exchange prove nothing."""
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
    """What all services share, where the REST API listens, who is let in, and how much they may ask for."""

    query_host: str = "127.0.0.1"
    """Address on which the REST API is served."""
    query_port: Port
    """Port of the REST API."""
    query_keys_file: Path | None = None
    """API keys that are let in: a line for each as `shotwatch keys create` makes it; read again on change."""
    query_oidc_issuer: Annotated[HttpUrl, AfterValidator(_private)] | None = None
    """OpenID Connect issuer whose tokens are let in, exactly as it calls itself in them."""
    query_oidc_audience: str | None = Field(None, min_length=1)
    """What these tokens call this API, in the claim `aud`."""
    query_trace_url: Annotated[HttpUrl, AfterValidator(_for_any_trace)] | None = None
    """Where the operators' page sends who wants to see a trace: an address with `{trace_id}` in it."""
    query_open: bool = False
    """Let everybody do everything, where neither a keys file nor an issuer is told; on loopback only."""

    query_proxies: Annotated[str, AfterValidator(_networks)] | None = None
    """Addresses or networks of proxies, separated by commas, whose `X-Forwarded-…` headers are believed."""
    query_requests_per_second: PositiveFloat = 200
    """Requests a second of one caller; ten seconds' worth at once. A change counts as twenty."""
    query_strangers_per_second: PositiveFloat = 20
    """Requests a second of one address that show no valid key or token; ten seconds' worth at once."""
    query_streams_per_caller: PositiveInt = 20
    """Streams of events that one caller may hold, of the 100 that a replica has."""
    query_connections: PositiveInt = 500
    """Connections to the REST API that are open at a time. Each takes a file descriptor."""
    query_connections_per_address: PositiveInt = 200
    """Those of one address that is no proxy."""

    @model_validator(mode="after")
    def _decided_who_is_let_in(self) -> Self:
        if (self.query_oidc_issuer is None) != (self.query_oidc_audience is None):
            raise ValueError("SHOTWATCH_QUERY_OIDC_ISSUER and SHOTWATCH_QUERY_OIDC_AUDIENCE belong together")
        if self.query_open and not is_loopback(self.query_host):
            raise ValueError("SHOTWATCH_QUERY_OPEN is for SHOTWATCH_QUERY_HOST=127.0.0.1 alone")
        if not (self.query_keys_file or self.query_oidc_issuer or self.query_open):
            raise ValueError(
                "nobody would be let in: name SHOTWATCH_QUERY_KEYS_FILE (`shotwatch keys create` makes"
                " one), or SHOTWATCH_QUERY_OIDC_ISSUER and SHOTWATCH_QUERY_OIDC_AUDIENCE"
            )
        return self
