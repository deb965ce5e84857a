"""The way in: an address and a key make a client."""

import os

from shotwatch_client.address import base_of, key_of
from shotwatch_client.client import ShotwatchClient
from shotwatch_client.rest import Rest


def connect(url: str, key: str | None = None) -> ShotwatchClient:
    """Return a client of the REST API of a deployment; it makes no request yet.

    Args:
        url: the address of the server, with or without `/api/v1`; also the address of the live page that
            `shotwatch up` prints, which holds a token.
        key: an API key, or a token of the deployment's OpenID Connect issuer. By default the token in the
            address, else SHOTWATCH_API_KEY, else the content of the file that SHOTWATCH_API_KEY_FILE names.

    Raises:
        InvalidArgument: the address or the key cannot be right, or the file cannot be read.
    """
    return ShotwatchClient(Rest(base_of(url), key_of(key, url, os.environ)))
