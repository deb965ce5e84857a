"""A REST API that a test answers for, and the command line pointed at it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from typer.testing import CliRunner, Result

from shotwatch_cli.main import app

FACILITY = Path(__file__).resolve().parents[2] / "facilities" / "hpls.yaml"

Get = Callable[[str], Any]
"""Path and query → document; None = there is no such thing."""
Post = Callable[[str, Any], Any]


@contextmanager
def served(get: Get, post: Post | None = None) -> Iterator[str]:
    """The address of a server that gives these answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(get(self.path))

        def do_POST(self) -> None:
            assert post is not None, f"nobody expected POST {self.path}"
            self.answer(post(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def answer(self, document: Any) -> None:
            self.send_response(200 if document else 404)
            self.end_headers()
            self.wfile.write(json.dumps(document or {"detail": "there is no such event"}).encode())

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_against(url: str, *arguments: str) -> Result:
    """Run `shotwatch` with these arguments on the REST API at this address; no other server is there."""
    environment = {
        "SHOTWATCH_BROKER_URL": "amqp://nobody",
        "SHOTWATCH_DATABASE_URL": "mongodb://nobody",
        "SHOTWATCH_STORE_URL": "http://nobody",
        "SHOTWATCH_STORE_ACCESS_KEY": "access",
        "SHOTWATCH_STORE_SECRET_KEY": "secret",
        "SHOTWATCH_MODELS_URL": "http://nobody",
        "SHOTWATCH_FACILITY": str(FACILITY),
        "SHOTWATCH_QUERY_URL": url,
        "COLUMNS": "250",
    }
    return CliRunner().invoke(app, arguments, env=environment)
