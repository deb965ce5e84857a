"""The guard before MLflow, around an application that answers everything."""

import json
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from shotwatch_embedded.guarded_mlflow import Guard, _secret

READABLE = (
    "/api/2.0/mlflow/registered-models/get",
    "/api/2.0/mlflow/registered-models/search",
    "/api/2.0/mlflow/model-versions/get",
    "/api/2.0/mlflow/model-versions/search",
    "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/bundle/bundle.json",
)
HIDDEN = (
    "/",
    "/metrics",
    "/healthy",
    "/health/../api",
    "/get-artifact",
    "/api/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/registered-models/get/",
    "/api/2.0/mlflow/registered-models/alias",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/ajax-api/2.0/mlflow/registered-models/get",
    "/ajax-api/3.0/mlflow/assistant/status",
)
NOBODY = (
    None,
    "",
    "Basic",
    "Basic e",
    "Bearer engineer-secret",
    "Basic " + b64encode(b"engineer:").decode(),
    "Basic " + b64encode(b"engineer:reader-secret").decode(),
    "Basic " + b64encode(b"reader:engineer-secret").decode(),
    "Basic " + b64encode(b"admin:engineer-secret").decode(),
)


async def mlflow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was sent, if anything."""
    await Response(await Request(scope, receive).body() or b"done")(scope, receive, send)


def client(user: str = "", password: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Guard(mlflow, "engineer-secret", "reader-secret"))
    return httpx.AsyncClient(
        transport=transport, base_url="http://models", auth=(user, password) if user else None
    )


@pytest.mark.parametrize("path", [*READABLE, *HIDDEN])
@pytest.mark.parametrize("login", NOBODY)
async def test_nothing_is_answered_without_a_login(path: str, login: str | None) -> None:
    async with client() as stranger:
        for method in ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD"):
            headers = {} if login is None else {"Authorization": login}
            answer = await stranger.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_whether_it_is_well_is_answered_to_everybody() -> None:
    async with client() as stranger:
        assert (await stranger.get("/health")).text == "OK"
        assert (await stranger.head("/health")).status_code == 200
        for method in ("POST", "PATCH", "PUT", "DELETE", "OPTIONS"):
            assert (await stranger.request(method, "/health")).status_code == 401


async def test_mlflow_gets_no_body_that_nobody_reads() -> None:
    """It would keep all of it in memory."""
    async with client() as stranger:
        assert (await stranger.request("GET", "/health", content=b"x" * 9)).text == "OK"
    async with client("reader", "reader-secret") as reader:
        assert (await reader.request("GET", READABLE[0], content=b"x" * 9)).text == "done"


async def test_a_reader_reads_versions_aliases_and_files_and_changes_nothing() -> None:
    async with client("reader", "reader-secret") as reader:
        for path in READABLE:
            assert (await reader.get(path)).status_code == 200
            for method in ("POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD"):
                assert (await reader.request(method, path)).status_code == 403
        for path in HIDDEN:
            for method in ("GET", "POST", "DELETE"):
                assert (await reader.request(method, path)).status_code == 403


TAG = "/api/2.0/mlflow/model-versions/set-tag"
VERSION = {"name": "shotwatch", "version": "7"}


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ({**VERSION, "key": "confirmed", "value": "12"}, 200),
        ({**VERSION, "key": "false", "value": "0"}, 200),
        ({**VERSION, "key": "false", "value": "9" * 12}, 200),
        ({**VERSION, "key": "false", "value": "9" * 13}, 403),
        ({**VERSION, "key": "false", "value": ""}, 403),
        ({**VERSION, "key": "false", "value": "12\n"}, 403),
        ({**VERSION, "key": "false", "value": "\u0661\u0662"}, 403),
        ({**VERSION, "key": "promoted_by", "value": "12"}, 403),
        ({**VERSION, "key": "confirmed", "value": "<script>"}, 403),
        ({**VERSION, "key": "confirmed", "value": 12}, 403),
        ({**VERSION, "key": ["confirmed"], "value": "12"}, 403),
        ({**VERSION, "key": "confirmed", "value": "1" * 5000}, 403),
        (["confirmed"], 403),
        ("[" * 2000, 403),
    ],
)
async def test_a_reader_counts_verdicts_and_sets_no_other_tag(tag: object, status: int) -> None:
    body = tag if isinstance(tag, str) else json.dumps(tag)
    async with client("reader", "reader-secret") as reader:
        answer = await reader.post(TAG, content=body)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == tag, "it reaches MLflow as it was sent"
    async with client() as stranger:
        assert (await stranger.post(TAG, content=body)).status_code == 401


async def test_an_engineer_may_do_everything_else() -> None:
    async with client("engineer", "engineer-secret") as engineer:
        for path in (*READABLE, *HIDDEN[:-1]):
            for method in ("GET", "POST", "DELETE"):
                assert (await engineer.request(method, path)).text == "done"


async def test_websockets_are_closed_whoever_asks() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    login = b"Basic " + b64encode(b"engineer:engineer-secret")
    scope = {"type": "websocket", "path": "/", "headers": [(b"authorization", login)]}
    await Guard(mlflow, "engineer-secret", "reader-secret")(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_password_comes_from_the_environment_or_a_file_and_is_never_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    for content in (None, ""):
        if content is not None:
            file.write_text(content)
            monkeypatch.setenv("MODELS_READER_PASSWORD_FILE", str(file))
        with pytest.raises(ValueError, match="MODELS_READER_PASSWORD, or MODELS_READER_PASSWORD_FILE"):
            _secret("MODELS_READER_PASSWORD")
    file.write_text("in a file\n")
    assert _secret("MODELS_READER_PASSWORD") == "in a file"
    monkeypatch.delenv("MODELS_READER_PASSWORD_FILE")
    monkeypatch.setenv("MODELS_READER_PASSWORD", "in the environment")
    assert _secret("MODELS_READER_PASSWORD") == "in the environment"


@pytest.mark.parametrize(
    "path",
    [
        *("/ajax-api/3.0/mlflow/assistant/message", "/ajax-api/3.0/mlflow//assistant/status"),
        *("/gateway/chat", "/api/3.0/mlflow/gateway/secrets/create", "/ajax-api/3.0/mlflow/%67ateway/x"),
    ],
)
async def test_nobody_uses_the_assistant_or_the_gateway(path: str) -> None:
    async with client("engineer", "engineer-secret") as engineer:
        assert (await engineer.post(path)).status_code == 403
