"""What an upload to the model registry that fails means to who trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from requests import HTTPError

from shotwatch_shots.errors import Retry
from shotwatch_training import registry
from shotwatch_training.registry import Registry
from tests.support.mlflow_client import MlflowClientInMemory
from tests.support.registry import Registered


@contextmanager
def refusing(status: int) -> Iterator[str]:
    """The address of a server that answers each upload with a status."""

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


class UploadsOverHttp(MlflowClientInMemory):
    """The client in memory, with MLflow's own uploads."""

    url = ""

    def log_artifacts(self, _run_id: str, folder: str, under: str | None) -> None:
        HttpArtifactRepository(self.url).log_artifacts(folder, under)


def upload(status: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Upload a file in a run, to a server that answers with the status."""
    (folder / "weights").write_bytes(b"1")
    client = UploadsOverHttp(Registered())
    patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    patch.setattr(registry, "MlflowClient", lambda **_: client)
    with refusing(status) as client.url, Registry("", "shotwatch").run() as run:
        run.files(folder, "bundle")


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 507])
def test_an_upload_that_the_server_cannot_take_now_may_be_repeated(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Retry, match=f"the model registry: .*{status}"):
        upload(status, tmp_path, monkeypatch)


@pytest.mark.parametrize("status", [400, 404, 413])
def test_an_upload_that_is_wrong_is_our_mistake(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HTTPError, match=str(status)):
        upload(status, tmp_path, monkeypatch)


def test_an_upload_that_succeeds_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(200, tmp_path, monkeypatch)
