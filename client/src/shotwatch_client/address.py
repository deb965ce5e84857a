"""The address of the REST API, and the key or token for it."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from shotwatch_client.errors import InvalidArgument

PREFIX = "/api/v1"
API_KEY = "SHOTWATCH_API_KEY"
"""The variable that holds the key or token; `SHOTWATCH_API_KEY_FILE` names a file that holds it."""


def base_of(url: str) -> str:
    """Return the address below which the routes are.

    Args:
        url: the address of the server, of its page or of its REST API, such as `http://127.0.0.1:8000`.

    Raises:
        InvalidArgument: it is not the address of a web server, or holds a login.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument("url", "it must begin with http:// or https:// and name a server")
    if "@" in parts.netloc:
        raise InvalidArgument("url", "it holds a login", "Pass the key as `key`")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix(PREFIX)}{PREFIX}"


def key_of(key: str | None, url: str, environment: Mapping[str, str]) -> str | None:
    """Return the key or token: the argument, the token in the address, or what the environment holds.

    `shotwatch up` prints an address with a token, `http://127.0.0.1:8000/#token=…`. Return None if there is
    no key anywhere: some APIs on loopback need none.

    Raises:
        InvalidArgument: the file that the environment names cannot be read, or a character of the key is not
            possible. The message never contains the key.
    """
    token = parse_qs(urlsplit(url.strip()).fragment).get("token", [None])[0]
    found = key or token or environment.get(API_KEY) or _from_file(environment.get(f"{API_KEY}_FILE"))
    if found is not None and not (found.isascii() and found.isprintable() and " " not in found):
        raise InvalidArgument("key", "it holds a character that no key has, such as a blank or a line end")
    return found


def _from_file(path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{API_KEY}_FILE", f"cannot read {path}: {error}") from error
