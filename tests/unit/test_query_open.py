"""An API without keys is for this machine, and not for pages of others that a browser on it shows."""

from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from shotwatch_query.access.guard import cookie_name
from shotwatch_query.service import create_app
from tests.unit.api import sources

APP = create_app(sources())


async def ask(url: str, method: str = "GET", **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP)) as client:
        return await client.request(method, f"{url}/api/v1/{more.pop('path', 'facility')}", **more)


@pytest.mark.parametrize("name", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
async def test_it_answers_by_the_names_of_this_machine(name: str) -> None:
    assert (await ask(name)).status_code == 200


async def test_it_does_not_answer_by_a_name_that_somebody_else_made_lead_here() -> None:
    answer = await ask("http://elsewhere.example:8000")
    assert answer.status_code == 401
    assert "loopback" in answer.json()["detail"]


async def test_a_page_of_another_site_changes_nothing() -> None:
    opinion = {"action": "false", "who": "nobody"}
    answer = await ask(
        "http://127.0.0.1:8000",
        "POST",
        path="events/some/feedback",
        json=opinion,
        headers={"Origin": "https://elsewhere.example"},
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8001", "8001_shotwatch_key"),
        ("[::1]:8001", "8001_shotwatch_key"),
        ("[::1]", "shotwatch_key"),
        ("watch.example", "shotwatch_key"),
        ("watch.example:", "shotwatch_key"),
        ("watch.example:a;b", "shotwatch_key"),
        ("watch.example:\xb2", "shotwatch_key"),
    ],
)
def test_each_port_of_a_host_has_a_cookie_of_its_own(host: str, name: str) -> None:
    """A browser sends the cookies of a host to all its ports."""
    headers = [(b"host", host.encode("latin-1"))]
    assert cookie_name(HTTPConnection({"type": "http", "headers": headers})) == name
