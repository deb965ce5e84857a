"""Query parameters: what is ambiguous is refused."""

import httpx
import pytest

from shotwatch_query.service import create_app
from tests.unit.api import BASE, sources

APP = create_app(sources())
CAMERA = "LA_A1_11-Camera_1-Camera-1"


async def refusal(path: str) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url=BASE) as api:
        answer = await api.get(f"/api/v1/{path}")
    assert answer.status_code == 422
    return answer.text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("events?place=LA-A1-11&place=LA-A2-00", "place"),
        ("shots?limit=1&place=LA&place=LA", "place"),
        (f"devices/{CAMERA}/history?feature=spot_x&feature=spot_y", "feature"),
        (f"devices/{CAMERA}/series?feature=spot_x&feature=spot_y&from=0&from=1&to=2", "from"),
        ("shots/1/devices/2/row?format=json&format=arrow", "format"),
    ],
)
async def test_a_parameter_that_is_given_twice_is_refused_by_name(path: str, name: str) -> None:
    assert f"{name}: given 2 times; give it once" in await refusal(path)


async def test_a_list_is_given_by_repeating_its_parameter() -> None:
    answer = await refusal(f"devices/{CAMERA}/series?feature=beauty&feature=truth")
    assert answer.count("/features lists them") == 2
