"""`shotwatch devices`, on the answers of a REST API."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from shotwatch_cli.timelines import draw_timelines
from shotwatch_common.facility_file import load_facility

from .rest import FACILITY, run_against, served

START, END = "2022-07-01T07:00:00Z", "2022-07-01T08:00:00Z"
CAMERA, METER = "LA_A1_11-Camera_1-Camera-1", "LA_A1_11-EM_1-EnergyMeter-1"
GREEN, RED, WHITE = (46, 139, 87), (192, 57, 43), (255, 255, 255)


def report(device: str, **differently: Any) -> dict[str, Any]:
    """ON for half an hour, then a gap of a quarter, then a fault."""
    return {
        **{"device": device, "kind": "Camera", "place": "LA-A1-11"},
        **{"interval": "100ms", "start": START, "end": END, "records": 27_000},
        "states": [
            {"state": "ON", "seconds": 1800, "share": 2 / 3},
            {"state": "FAULT", "seconds": 900, "share": 1 / 3},
        ],
        "gaps": {"count": 1, "total_s": 900.25, "longest_s": 900.25},
        "chatter": {"changes": 1, "per_hour": 4 / 3, "bursts": 0},
        "refused": {"black_frame": 9},
        "clock": {"against": METER, "offset_ms": 3.5, "spread_ms": 0.25, "pairs": 27_000},
        "segments": [
            {"state": "ON", "start": START, "end": "2022-07-01T07:30:00Z"},
            {"state": "FAULT", "start": "2022-07-01T07:45:00Z", "end": END},
        ],
        **differently,
    }


@dataclass
class Api:
    """Answers for LA-A1-11 with these reports, for every other place with none."""

    reports: list[dict[str, Any]]
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> dict[str, Any]:
        assert urlsplit(path).path == "/api/v1/reports"
        query = {name: value for name, [value] in parse_qs(urlsplit(path).query).items()}
        self.asked.append(query)
        here = query["place"] == "LA-A1-11"
        return {"start": START, "end": END, "devices": self.reports if here else []}


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api([report(CAMERA), report(METER, clock=None, refused={}, states=[], segments=[])])
    with served(api.answer) as api.url:
        yield api


def devices(api: Api, *arguments: str) -> Result:
    return run_against(api.url, "devices", *arguments)


def test_people_get_a_row_for_each_device(api: Api) -> None:
    result = devices(api)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if CAMERA in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [
        *(CAMERA, "LA-A1-11 (100ms)", "ON 66.7%, FAULT 33.3%", "1", "0:15:00.2", "0:15:00.2"),
        *("1.3", "9 black_frame", "+3.5 ± 0.2"),
    ]
    row = next(line for line in result.stdout.splitlines() if METER in line)
    assert row.strip("│ ").endswith("?")


def test_programs_get_a_line_for_each_device(api: Api) -> None:
    lines = devices(api, "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == api.reports


def test_every_place_is_asked_about_the_same_span(api: Api) -> None:
    assert devices(api).exit_code == 0
    assert len(api.asked) == 15
    assert "from" not in api.asked[0]
    assert {(asked["from"], asked["to"]) for asked in api.asked[1:]} == {(START, END)}


def test_only_what_was_asked_for_is_read(api: Api) -> None:
    result = devices(api, "--place", "LA-A1", "--from", "2022-07-01T07:00", "--json")
    assert result.exit_code == 0
    assert [asked["place"] for asked in api.asked] == ["LA-A1-11", "LA-A1-12"]
    assert api.asked[0]["from"] == "1656658800000"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "complaint"),
    [
        (("--place", "LC"), 2, "HPLS has no place LC"),
        (("--from", "2022-07-01T08:00", "--to", "2022-07-01T07:00"), 2, "not before"),
        (("--place", "LB"), 1, "no device recorded anything"),
        (("--plot", "/absent/devices.png"), 1, "cannot write"),
    ],
)
def test_what_cannot_be_shown_is_stated(
    api: Api, arguments: tuple[str, ...], exit_code: int, complaint: str
) -> None:
    result = devices(api, *arguments)
    assert result.exit_code == exit_code
    assert complaint in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_the_picture_is_green_while_on_white_in_a_gap_and_red_in_a_fault(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "devices.png"
    assert devices(api, "--plot", str(file)).exit_code == 0
    bar = np.asarray(Image.open(file).convert("RGB"))[40 + 9, 240:1180]
    quarter = len(bar) // 4
    assert [tuple(bar[n * quarter + quarter // 2].tolist()) for n in range(4)] == [GREEN, GREEN, WHITE, RED]


def test_states_without_a_name_and_many_of_them_can_be_drawn() -> None:
    states = [None, *(f"STATE {n}" for n in range(20))]
    segments = [{"state": state, "start": START, "end": END} for state in states]
    policy = load_facility(FACILITY).state
    assert draw_timelines([report(CAMERA, segments=segments)] * 200, policy).size == (1200, 3680)
