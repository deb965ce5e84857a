"""Security headers of every response: what a browser must not do with it."""

import re
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of responses that are not pages."""
OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy of this service's pages: nothing inline, nothing from elsewhere."""
ALWAYS: Mapping[str, str] = {
    "Content-Security-Policy": NOTHING,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PAGE: Mapping[str, str] = {
    "Content-Security-Policy": OURS,
    # with no-referrer a browser sends `Origin: null` from a form, and nobody could log in
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Headers of pages and their files, which contain no data."""
WASM_WORKER: Mapping[str, str] = {
    **PAGE,
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Headers of the worker that reads raw files: it may compile WebAssembly, and reach nothing."""
OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}


def attachment(name: str) -> dict[str, str]:
    """Return the header by which a browser saves a response under a name; other characters become `_`."""
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    return {"Content-Disposition": f'attachment; filename="{plain}"'}


class Guarded:
    """A middleware that adds the missing headers of ALWAYS to every response, errors and streams included.

    It wraps the whole app, because the response to an internal error is made outside of the app's own
    middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = {**ALWAYS, **(OVER_TLS if scope["scheme"] == "https" else {})}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in wanted.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)
