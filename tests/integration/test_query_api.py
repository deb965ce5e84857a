"""What the REST API answers, as a client sees it."""

import asyncio
import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import numpy as np
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from PIL import Image
from pymongo import AsyncMongoClient
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    status_code_conformance,
)
from typer.testing import CliRunner

from shotwatch_cli.main import app
from shotwatch_common.archive.measurements import Source
from shotwatch_common.clock import epoch_now
from shotwatch_query.service import create_app
from shotwatch_query.sources import ApiSources
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.event import AnomalyEvent, ModelRef
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.feedback import ShotLabels, Snooze
from shotwatch_shots.identity import residual_key
from shotwatch_shots.models import ModelLoad
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.slices import INBOX, Equality, Reconciled, Slice
from shotwatch_shots.shot import ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias

from .query_world import (
    ANOMALOUS,
    CAMERA,
    ENERGIES_FROM,
    EXPIRED,
    FIRST_PULSE,
    HOUR,
    LA,
    LB,
    METER,
    MISSING,
    OTHER_CAMERA,
    SHOTS,
    SPECTRO,
    UNREADABLE,
    World,
    anomaly_event,
    block_key,
    closed,
    energies,
    judge,
    pulses,
    raise_event,
    recorded,
    residual,
    shot,
    spectrum_positions,
)

# The contract.


OPENAPI = create_app(cast(ApiSources, None)).openapi()
"""The description needs nothing that lies behind the API."""


def test_the_api_serves_its_description(world: World) -> None:
    assert world.get("/openapi.json") == OPENAPI


LIMITED = ("/series", "/energy", "/history", "/report", "/reports", "/lasy")
EXPRESSIONS = "/tables/"


ENDLESS = "/api/v1/events/stream"


@schemathesis.openapi.from_dict(OPENAPI).exclude(path=ENDLESS).parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_description_states(world: World, case: Any) -> None:
    # The schema cannot distinguish a made-up cursor from one of ours, a span that holds too much from
    # another, any text from an expression, nor wavelengths that a spectrum may have from others.
    path = case.operation.path
    refusable = "cursor" in case.query or path.endswith(LIMITED) or EXPRESSIONS in path
    excluded = [positive_data_acceptance] if refusable else []
    response = case.call(
        base_url=str(world.api.base_url).removesuffix("/api/v1/"),
        headers={"Authorization": world.api.headers["Authorization"]},
    )
    if response.status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        excluded.append(negative_data_rejection)  # Schemathesis does not know that this rejects the data.
    case.validate_response(response, excluded_checks=excluded)


def test_a_query_longer_than_a_head_may_be_is_refused_as_described(world: World) -> None:
    """The longest expression, of characters that take twelve bytes each in an address."""
    case = schemathesis.openapi.from_dict(OPENAPI)["/api/v1/tables/shots"]["GET"].Case(
        query={"place": "LA-A1-11", "where": "\U000a542b" * 4000}
    )
    response = case.call(
        base_url=str(world.api.base_url).removesuffix("/api/v1/"),
        headers={"Authorization": world.api.headers["Authorization"]},
    )
    assert response.status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    case.validate_response(response, checks=[status_code_conformance, content_type_conformance])


# Searching shots.


def pages(world: World, cursor: str | None = None, **query: Any) -> list[str]:
    """Ids of all shots from the cursor on, page after page."""
    found: list[str] = []
    while True:
        page = world.get("/shots", **query, **({"cursor": cursor} if cursor else {}))
        found += [listed["id"] for listed in page["shots"]]
        cursor = page["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_list_every_shot_once_oldest_first(world: World, limit: int) -> None:
    expected = [shot(n, place) for n in range(SHOTS) for place in (LA, LB)]
    assert [found for found in pages(world, order="oldest", limit=limit) if "-A1-" in found] == expected


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_list_every_shot_once_newest_first(world: World, limit: int) -> None:
    expected = [shot(n, place) for n in reversed(range(SHOTS)) for place in (LB, LA)]
    assert [found for found in pages(world, order="newest", limit=limit) if "-A1-" in found] == expected


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_shots_that_come_in_between_pages_make_none_appear_twice_or_never(world: World, order: str) -> None:
    known = pages(world, order=order, limit=1000)
    first = world.get("/shots", order=order, limit=15)
    place = ShotSeries.parse("LA-F1-00-100ms" if order == "oldest" else "LA-F2-00-100ms")
    asyncio.run(close(world, closed(place, [], pulses(), f"late-{order}")))
    listed = [found["id"] for found in first["shots"]]
    listed += pages(world, first["next"], order=order, limit=15)
    assert [found for found in listed if found in known] == known


async def close(world: World, batch: ShotBatch) -> None:
    async with world.archive() as archive:
        await judge(archive, batch, [ShotVerdict(None, None)] * len(batch.pulses))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"place": "LA-A1-11"}, range(SHOTS)),
        ({"place": "LA-A1"}, range(SHOTS)),
        ({"place": "LA-A1", "interval": "1s"}, []),
        ({"kind": "hot_spot"}, [ANOMALOUS]),
        ({"kind": "hot_spot", "place": "LA-A1-11"}, [ANOMALOUS]),
        ({"kind": "hot_spot", "place": "LB"}, []),
        ({"kind": "pointing"}, []),
        ({"min_score": 9}, [ANOMALOUS]),
        ({"min_score": 9, "place": "LA-A1-11"}, [ANOMALOUS]),
        ({"complete": False, "place": "LA-A1"}, [UNREADABLE, MISSING]),
    ],
)
def test_a_search_finds_what_it_asks_for(
    world: World, query: dict[str, Any], expected: Sequence[int]
) -> None:
    assert pages(world, order="oldest", **query) == [shot(n) for n in expected]


def test_times_are_reported_in_rfc_3339_or_in_epoch_milliseconds(world: World) -> None:
    local: dict[str, Any] = {"from": "2022-07-01T09:33:00.300+02:00", "to": "2022-07-01T07:33:00.6Z"}
    epoch: dict[str, Any] = {"from": FIRST_PULSE + 200, "to": FIRST_PULSE + 500}
    expected = [shot(n, LB) for n in (4, 3, 2)]
    assert pages(world, place="LB", **local) == pages(world, place="LB", **epoch) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2022-07-01T07:33:00"},
        {"limit": 1001},
        {"order": "best"},
        {"kind": "ufo"},
        {"cursor": "bm8"},
        {"colour": "red"},
    ],
)
def test_a_search_that_makes_no_sense_is_refused_with_the_reason(world: World, query: dict[str, Any]) -> None:
    answer = world.api.get("/shots", params=query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(query)) in answer.text


# One shot.


def test_a_shot_reports_its_members_and_what_is_wrong_with_them(world: World) -> None:
    unreadable, missing = world.get(f"/shots/{shot(UNREADABLE)}"), world.get(f"/shots/{shot(MISSING)}")
    verdicts = [(m["device"], m["verdict"], m["row"]) for m in unreadable["members"]]
    assert verdicts == [
        (CAMERA, "wrong_shape: 101 x 128", UNREADABLE),
        (SPECTRO, "valid", UNREADABLE),
        (METER, "valid", UNREADABLE),
    ]
    assert unreadable["reasons"]["refused"] == [{"device": CAMERA, "reason": "wrong_shape: 101 x 128"}]
    assert missing["reasons"]["missing"] == missing["missing"] == [METER]
    assert missing["members"][2]["verdict"] == "missing"
    assert missing["members"][2]["block"] is None


def test_a_shot_reports_features_score_and_anomalies(world: World) -> None:
    anomalous = world.get(f"/shots/{shot(ANOMALOUS)}")
    (feature,) = anomalous["features"]
    assert (feature["name"], feature["value"], feature["unit"]) == ("centroid_x", 63.5, "px")
    assert feature["description"].startswith("Column of the centre of light")
    assert (anomalous["score"], anomalous["threshold"], anomalous["kinds"]) == (9.5, 5.0, ["hot_spot"])
    assert [anomaly["why"] for anomaly in anomalous["reasons"]["anomalies"]] == ["hot spot: 9.5 σ"]
    assert anomalous["revisions"][0]["revision"] == 1
    assert anomalous["trace_id"] == "0" * 32


def test_a_score_that_is_no_number_is_null(world: World) -> None:
    assert world.get(f"/shots/{shot(0)}")["score"] is None


# What devices recorded.


def record(world: World, device: str, what: str, n: int = ANOMALOUS, **query: Any) -> bytes:
    answer = world.api.get(f"/shots/{shot(n)}/devices/{device}/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_frame_comes_back_count_for_count_in_every_format(world: World) -> None:
    frame = recorded()[CAMERA].arrays["image"][ANOMALOUS]
    assert np.array_equal(np.load(io.BytesIO(record(world, CAMERA, "image", format="npy"))), frame)
    csv = np.loadtxt(io.BytesIO(record(world, CAMERA, "image", format="csv")), delimiter=",")
    assert np.array_equal(csv, frame)
    document = world.get(f"/shots/{shot(ANOMALOUS)}/devices/{CAMERA}/image", format="json")
    assert (document["values"], document["unit"]) == (frame.tolist(), "counts")
    grey = Image.open(io.BytesIO(record(world, CAMERA, "image", colour=False)))
    assert np.array_equal(np.asarray(grey), frame)


def test_a_frame_in_colour_is_brightest_where_the_light_is(world: World) -> None:
    frame = recorded()[CAMERA].arrays["image"][ANOMALOUS]
    picture = np.asarray(Image.open(io.BytesIO(record(world, CAMERA, "image"))).convert("L"), float)
    assert np.corrcoef(picture.ravel(), frame.ravel())[0, 1] > 0.98


def test_a_spectrum_comes_back_exactly(world: World) -> None:
    spectrum = recorded()[SPECTRO].arrays["spectrum"][ANOMALOUS]
    assert np.array_equal(np.load(io.BytesIO(record(world, SPECTRO, "spectrum", format="npy"))), spectrum)
    file = io.BytesIO(record(world, SPECTRO, "spectrum", format="csv"))
    samples, values = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32, unpack=True)
    assert np.array_equal(values, spectrum)
    assert np.array_equal(samples, np.arange(2047))
    plot = Image.open(io.BytesIO(record(world, SPECTRO, "spectrum")))
    assert plot.size == (800, 400)


def test_the_residual_of_an_anomalous_frame_comes_back_exactly(world: World) -> None:
    assert np.array_equal(np.load(io.BytesIO(record(world, CAMERA, "residual", format="npy"))), residual())
    picture = Image.open(io.BytesIO(record(world, CAMERA, "residual"))).convert("RGB")
    red, _, blue = picture.getpixel((127, 101))
    assert red > blue


def test_a_row_reports_the_energies_with_their_unit(world: World) -> None:
    row = world.get(f"/shots/{shot(ANOMALOUS)}/devices/{METER}/row")
    energy = recorded()[METER].arrays["energy1"][ANOMALOUS]
    assert row["values"] == {"energy1": energy, "energy2": None}
    assert (row["unit"], row["state"], row["row"]) == ("J", "ON", ANOMALOUS)
    assert row["time"] == "2022-07-01T07:33:00.807000Z"
    (line,) = csv.DictReader(io.StringIO(record(world, METER, "row", format="csv").decode()))
    assert line["energy1"] == repr(float(energy))


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/shots/LA-nowhere", "LA-nowhere"),
        (f"/shots/{shot(0)}/devices/LA_A1_11-Camera_9-Camera-9/image", "Camera-9"),
        (f"/shots/{shot(0)}/devices/{METER}/image", "image"),
        (f"/shots/{shot(0)}/devices/{CAMERA}/residual", "residuals"),
        (f"/shots/{shot(MISSING)}/devices/{METER}/row", "has no record"),
        (f"/shots/{shot(UNREADABLE)}/devices/{CAMERA}/image", "wrong_shape: 101 x 128"),
        (f"/shots/{shot(0, LB)}/devices/{EXPIRED}/image", f"put {EXPIRED}.h5 into the inbox again"),
        ("/blocks/2022-07-01/none.arrow", "none.arrow"),
        ("/blocks/%2e%2e/data/x", "../data/x"),
        ("/blocks/%20", "there is no block"),
        (f"/blocks/{residual_key(shot(ANOMALOUS), CAMERA)}", "there is no block"),
        (
            "/devices/LA_A1_11-Camera_99-Camera-99/series?feature=energy",
            "HPLS has no device LA_A1_11-Camera_99",
        ),
        ("/devices/nothing/report", "HPLS has no device nothing"),
        ("/devices/nothing/history?feature=energy", "HPLS has no device nothing"),
        (f"/devices/{CAMERA}/energy", f"HPLS has no EnergyMeter {CAMERA}"),
        (f"/devices/{METER}/energy?camera={SPECTRO}", f"HPLS has no Camera {SPECTRO}"),
        (f"/devices/{METER}/maximum", f"HPLS has no Camera {METER}"),
        (f"/devices/{OTHER_CAMERA}/maximum", "has no valid frame"),
        (f"/devices/{CAMERA}/frames?to={FIRST_PULSE}", "has no valid frame"),
        ("/events/none", "none"),
        ("/events/none/feedback", "none"),
        ("/ledger/objects/none", "none"),
        ("/nothing", "Not Found"),
    ],
)
def test_what_does_not_exist_is_named(world: World, path: str, missing: str) -> None:
    answer = world.api.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert missing in answer.json()["detail"]


def test_a_block_is_an_arrow_file_that_any_reader_opens(world: World) -> None:
    answer = world.api.get(f"/blocks/{block_key(METER)}")
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.file"
    table = pa.ipc.open_file(answer.content).read_all()
    assert np.array_equal(table["energy1"].to_numpy(), recorded()[METER].arrays["energy1"])


# Devices over time.


def test_the_catalogue_states_of_every_feature_what_it_is_and_which_shots_have_it(world: World) -> None:
    features = {feature["name"]: feature for feature in world.get("/features")["features"]}
    assert features.keys() == FEATURE_SPECS.keys()
    assert features["ellipticity"]["range"] == [0, 1]
    assert features["energy"] == {
        "name": "energy",
        "unit": "J",
        "range": [0, None],
        "description": FEATURE_SPECS["energy"].description,
        "source": FEATURE_SPECS["energy"].source,
        "measured_on": "every shot",
    }
    assert features["distance_to_reference"]["measured_on"] == "one shot a second, and every anomalous one"


def test_every_device_is_listed_with_what_was_last_known_of_it(world: World) -> None:
    devices = {device["device"]: device for device in world.get("/devices")["devices"]}
    assert len(devices) == 200
    camera = devices[CAMERA]
    assert (camera["kind"], camera["place"], camera["interval"]) == (
        "Camera",
        "LA-A1-11",
        "100ms",
    )
    assert (camera["state"], camera["time"]) == ("ON", "2022-07-01T07:33:02.007000Z")
    assert camera["calibration_constants"] == [
        {
            "kind": "noise",
            "version": 2,
            "made_at": "2022-07-01T07:33:00.103000Z",
            "start": "2022-07-01T07:33:00.100000Z",
            "end": "2022-07-01T07:33:00.101000Z",
            "frames": 50,
        }
    ]
    assert (devices[METER]["state"], devices[METER]["calibration_constants"]) == (None, [])


ENERGIES = {"from": ENERGIES_FROM, "to": ENERGIES_FROM + 100 * len(energies())}


def columns(world: World, path: str, form: str, **query: Any) -> bytes:
    answer = world.api.get(path, params={**query, "format": form})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_series_reports_each_shot_of_the_last_hour(world: World) -> None:
    series = world.get(f"/devices/{CAMERA}/series", feature=["centroid_x", "spot_x", "centroid_x"])
    assert series["times"][:2] == ["2022-07-01T07:33:00.100000Z", "2022-07-01T07:33:00.200000Z"]
    assert series["columns"] == [
        {"name": "centroid_x", "unit": "px", "values": [63.5] * SHOTS},
        {"name": "spot_x", "unit": "px", "values": [None] * SHOTS},
    ]


def test_a_series_is_the_same_in_every_format(world: World) -> None:
    path, query = f"/devices/{METER}/series", {**ENERGIES, "feature": ["energy", "energy_disagreement"]}
    reported = [column["values"] for column in world.get(path, **query)["columns"]]
    assert reported[0] == pytest.approx(energies(), rel=1e-6)
    table = np.load(io.BytesIO(columns(world, path, "npy", **query)))
    assert table["time"][0] == np.datetime64("2022-07-01T05:33:00.100")
    assert np.array_equal(table["energy"], energies())
    header, first, *rest = columns(world, path, "csv", **query).decode().splitlines()
    assert header == "time,energy,energy_disagreement"
    assert first == "2022-07-01T05:33:00.100Z,1.0,0.125"
    assert [float(line.split(",")[1]) for line in (first, *rest)] == reported[0]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        (f"/devices/{CAMERA}/series?from=0&to=100000001&feature=spot_x", "at most 1 day, 3:46:40 at a time"),
        (f"/devices/{CAMERA}/series?from=0&to=50000001&feature=spot_x&feature=spot_y", "at most 13:53:20"),
        (f"/devices/{METER}/energy?from=0", "1,000,000 values"),
        (f"/devices/{CAMERA}/report?from=0", "1,000,000 values"),
        ("/reports?from=0", "1,000,000 values"),
        (f"/devices/{CAMERA}/history?from=-62135596800000&feature=spot_x", "1,000,000 values"),
        (f"/devices/{CAMERA}/series?feature=beauty", "/features lists them"),
        (f"/devices/{CAMERA}/series", "feature"),
        (f"/devices/{METER}/energy?sigma_s=0", "sigma_s"),
        (f"/devices/{METER}/energy?sigma_s=121", "at most 120 s"),
        (f"/devices/{CAMERA}/maximum?shots=1001", "shots"),
    ],
)
def test_what_is_too_much_or_unknown_is_reported_with_what_to_do(
    world: World, path: str, complaint: str
) -> None:
    answer = world.api.get(path)
    assert answer.status_code == 422
    assert complaint in answer.text


def test_energies_are_smoothed_but_for_outliers(world: World) -> None:
    energy = world.get(f"/devices/{METER}/energy", **ENERGIES, sigma_s=2)
    anomalous = [50, 100, 101, 102]
    assert np.flatnonzero(energy["outlier"]).tolist() == anomalous
    assert [energy["smoothed"][n] for n in anomalous] == [5, 0.1, 0.1, 0.1]
    assert np.delete(energy["smoothed"], anomalous) == pytest.approx(1, abs=0.005)
    assert energy["drop_outs"] == [
        {"start": "2022-07-01T05:33:10.100000Z", "end": "2022-07-01T05:33:10.300000Z", "shots": 3}
    ]
    assert energy["disagreement"] == {
        "shots": 200,
        "median": 0.125,
        "largest": 0.5,
        "limit": 0.2,
        "above_limit": 1,
    }
    assert not energy["drift"]["significant"]
    assert energy["light"] is None
    lines = columns(world, f"/devices/{METER}/energy", "csv", **ENERGIES, sigma_s=2).decode().splitlines()
    assert lines[0] == "time,energy,smoothed,outlier"
    assert lines[51] == "2022-07-01T05:33:05.100Z,5.0,5.0,1"


def test_a_camera_sees_light_in_proportion_to_the_energy(world: World) -> None:
    light = world.get(f"/devices/{METER}/energy", **ENERGIES, camera=CAMERA)["light"]
    assert (light["camera"], light["shots"]) == (CAMERA, 200)
    assert light["ratio"] == pytest.approx(1000, rel=1e-6)
    assert light["spread"] == pytest.approx(0, abs=1e-6)
    assert light["correlation"] == pytest.approx(1, abs=1e-3)


def test_a_jump_half_an_hour_ago_is_reported_in_the_history(world: World) -> None:
    history = world.get(f"/devices/{SPECTRO}/history", feature="spectrum_centroid")
    (change,) = history["changes"]
    assert change["time"] == "2022-07-01T07:03:00.100000Z"
    assert (change["before"], change["after"]) == (pytest.approx(1000, abs=0.5), pytest.approx(1010, abs=0.5))
    assert history["medians"] == pytest.approx(spectrum_positions(), rel=1e-6)
    assert history["trend"]["significant"]
    newest = history["newest"]
    past = spectrum_positions()[:-1]
    assert newest["value"] == pytest.approx(spectrum_positions()[-1], rel=1e-6)
    assert newest["percentile"] == pytest.approx(100 * (past < spectrum_positions()[-1]).mean())


def test_a_history_of_nothing_or_of_one_value_reports_it(world: World) -> None:
    nothing = world.get(f"/devices/{SPECTRO}/history", feature="energy")
    assert (nothing["medians"], nothing["trend"], nothing["newest"]) == ([], None, None)
    single = world.get(f"/devices/{CAMERA}/history", feature="centroid_x")["newest"]
    assert (single["value"], single["percentile"], single["sigmas"]) == (63.5, None, None)


def test_a_report_has_states_gaps_refusals_and_the_clock(world: World) -> None:
    report = world.get(f"/devices/{CAMERA}/report")
    assert [(s["state"], s["seconds"]) for s in report["states"]] == [("ON", 1.3), ("STANDBY", 0.4)]
    assert [s["share"] for s in report["states"]] == pytest.approx([13 / 17, 4 / 17])
    assert report["gaps"] == {"count": 1, "total_s": 0.3, "longest_s": 0.3}
    assert report["chatter"] == {"changes": 1, "per_hour": pytest.approx(3600 / 1.7), "bursts": 0}
    assert (report["records"], report["refused"]) == (17, {"black_frame": 1})
    assert report["clock"] == {"against": OTHER_CAMERA, "offset_ms": 4, "spread_ms": 0, "pairs": 17}
    assert [(s["state"], s["start"][17:23], s["end"][17:23]) for s in report["segments"]] == [
        ("ON", "00.107", "00.907"),
        ("ON", "01.207", "01.707"),
        ("STANDBY", "01.707", "02.107"),
    ]


def test_the_report_of_a_device_without_records_is_empty(world: World) -> None:
    report = world.get(f"/devices/{METER}/report")
    assert (report["records"], report["first"], report["states"], report["segments"]) == (0, None, [], [])
    assert (report["chatter"]["per_hour"], report["clock"]["offset_ms"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [CAMERA, OTHER_CAMERA]),
        ({"place": "LA-A1-11"}, [CAMERA, OTHER_CAMERA]),
        ({"place": "LB"}, []),
        ({"to": FIRST_PULSE}, []),
    ],
)
def test_reports_are_those_of_the_devices_that_recorded_anything(
    world: World, query: dict[str, Any], expected: list[str]
) -> None:
    reports = world.get("/reports", **query)["devices"]
    assert [report["device"] for report in reports] == expected
    for report in reports:
        assert report == world.get(f"/devices/{report['device']}/report")


def newest(world: World, what: str, **query: Any) -> httpx.Response:
    answer = world.api.get(f"/devices/{CAMERA}/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_maximum_is_that_of_the_newest_valid_frames(world: World) -> None:
    frames = recorded()[CAMERA].arrays["image"]
    last_five = newest(world, "maximum", shots=5, format="npy")
    assert last_five.headers["X-Frames"] == "5"
    assert np.array_equal(np.load(io.BytesIO(last_five.content)), frames[-5:].max(axis=0))
    first_four = newest(world, "maximum", to=pulses()[UNREADABLE] + 1, format="npy")
    assert first_four.headers["X-Frames"] == "3"
    assert np.array_equal(np.load(io.BytesIO(first_four.content)), frames[:UNREADABLE].max(axis=0))
    picture = Image.open(io.BytesIO(newest(world, "maximum").content))
    assert picture.size == (128, 102)


def test_the_newest_frames_come_with_their_shots(world: World) -> None:
    found = np.load(io.BytesIO(newest(world, "frames", shots=3).content))
    assert found["shots"].tolist() == [shot(n) for n in range(SHOTS - 3, SHOTS)]
    assert found["times"].astype(np.int64).tolist() == pulses()[-3:]
    assert np.array_equal(found["frames"], recorded()[CAMERA].arrays["image"][-3:])


# Events.


async def reserve(world: World, *events: AnomalyEvent) -> list[AnomalyEvent]:
    """The events with numbers in their order."""
    async with world.archive() as archive:
        numbers = await archive.events.reserve([event.id for event in events])
        return [event.numbered(numbers[event.id]) for event in events]


async def add(world: World, event: AnomalyEvent) -> None:
    async with world.archive() as archive:
        await archive.events.add([event])


def test_an_event_waits_for_its_predecessor(world: World) -> None:
    last = world.get("/events")["last"]
    first, second = asyncio.run(reserve(world, anomaly_event(10, 0), anomaly_event(11, 0)))
    asyncio.run(add(world, second))
    held_back = world.get("/events", since=last)
    assert (held_back["events"], held_back["last"]) == ([], last)
    asyncio.run(add(world, first))
    both = world.get("/events", since=last)
    assert [event["subject"] for event in both["events"]] == [shot(10), shot(11)]
    assert both["last"] == first.data.sequence + 1


def test_a_subscriber_can_go_on_from_the_last_number_page_by_page(world: World) -> None:
    everything = world.get("/events")
    seen, page = [], {"last": 0, "more": True}
    while page["more"]:
        page = world.get("/events", since=page["last"], limit=1)
        seen += page["events"]
    assert seen == everything["events"]
    assert not everything["more"]


def test_events_can_be_filtered_and_still_state_how_far_the_search_went(world: World) -> None:
    everything = world.get("/events")
    none = world.get("/events", kind="pointing")
    assert (none["events"], none["last"]) == ([], everything["last"])
    assert world.get("/events", kind="hot_spot", place="LA")["events"] == everything["events"]


def test_an_event_keeps_to_its_published_schema(world: World) -> None:
    schema = world.get("/schemas/anomaly-event.json")
    for event in world.get("/events")["events"]:
        jsonschema.validate(event, schema, jsonschema.Draft202012Validator)
        assert world.get(f"/events/{event['id']}") == event


def test_the_latest_events_are_those_of_the_last_numbers(world: World) -> None:
    everything = world.get("/events")
    latest = world.get("/events", latest=1)
    assert (latest["events"], latest["last"]) == (everything["events"][-1:], everything["last"])
    assert world.get("/events", latest=1000)["events"] == everything["events"]


# Feedback.


def give_feedback(world: World, event: AnomalyEvent, action: str, **more: Any) -> dict[str, Any]:
    body = {"action": action, "who": "amelie", **more}
    answer = world.api.post(f"/events/{event.id}/feedback", json=body)
    assert answer.status_code == 201, answer.text
    statement: dict[str, Any] = answer.json()
    return statement


def test_feedback_on_an_event_comes_back_with_what_counts(world: World) -> None:
    event, soon = asyncio.run(raise_event(world, 12)), epoch_now() + HOUR
    expected = [
        give_feedback(world, event, "false"),
        give_feedback(world, event, "acknowledged", note="on it"),
        give_feedback(world, event, "snoozed", until=soon),
        give_feedback(world, event, "confirmed", who="bruno", label="pointing"),
    ]
    assert (expected[0]["shot"], expected[0]["kind"], expected[0]["place"]) == (
        shot(12),
        "hot_spot",
        "LA-A1-11",
    )
    assert (expected[1]["who"], expected[1]["note"]) == ("amelie", "on it")
    feedback = world.get(f"/events/{event.id}/feedback")
    assert sorted(feedback["statements"], key=lambda each: each["id"]) == sorted(
        expected, key=lambda e: e["id"]
    )
    assert feedback["standing"] == {
        "acknowledged_by": "amelie",
        "acknowledged_caller": "tests",
        "snoozed_until": expected[2]["until"],
        "verdict": "confirmed",
        "label": "pointing",
    }
    listed = world.get("/events", since=event.data.sequence - 1)
    assert listed["standings"] == {event.id: feedback["standing"]}


def test_feedback_on_one_event_of_an_incident_holds_for_the_others(world: World) -> None:
    opened = asyncio.run(raise_event(world, 13))
    updated = asyncio.run(raise_event(world, 14, opened=13))
    give_feedback(world, opened, "acknowledged")
    assert world.get(f"/events/{updated.id}/feedback")["standing"]["acknowledged_by"] == "amelie"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"action": "ignored"}, "acknowledged"),
        ({"action": "confirmed", "label": "ufo"}, "body.confirmed.label"),
        ({"action": "false", "label": "pointing"}, "body.false.label"),
        ({"action": "snoozed"}, "body.snoozed.until"),
        ({"action": "snoozed", "until": "tomorrow"}, "body.snoozed.until"),
        ({"action": "snoozed", "until": "2022-07-01T07:33:00Z"}, "not within the next 30 days"),
        ({"action": "snoozed", "until": "9000-01-01T00:00:00Z"}, "not within the next 30 days"),
        ({"action": "acknowledged", "who": ""}, "body.acknowledged.who"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused_with_the_reason_and_not_kept(
    world: World, body: dict[str, Any], complaint: str
) -> None:
    event = world.get("/events", limit=1)["events"][0]
    path = f"/events/{event['id']}/feedback"
    before = world.get(path)
    answer = world.api.post(path, json={"who": "amelie", **body})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert complaint in answer.text
    assert world.get(path) == before


def test_no_feedback_can_be_given_on_an_event_that_does_not_exist(world: World) -> None:
    answer = world.api.post("/events/none/feedback", json={"action": "false", "who": "amelie"})
    assert answer.status_code == 404
    assert "none" in answer.json()["detail"]


def test_a_path_states_which_methods_it_allows(world: World) -> None:
    assert world.api.delete("/events/none/feedback").headers["allow"] == "GET, POST"
    assert world.api.delete("/events/none").headers["allow"] == "GET"


@pytest.mark.parametrize(("order", "n"), [("oldest", 15), ("newest", 2)])
def test_feedback_is_paged_by_time_without_loss(world: World, order: str, n: int) -> None:
    event = asyncio.run(raise_event(world, n))
    expected = [give_feedback(world, event, "acknowledged", note=str(part))["id"] for part in range(5)]
    found, cursor = [], None
    while True:
        where: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page = world.get("/feedback", action="acknowledged", order=order, limit=2, **where)
        found += [each["id"] for each in page["statements"] if each["event"] == event.id]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert set(expected) <= set(found)
    reported = world.get("/feedback", action="confirmed", limit=1000)["statements"]
    assert {each["action"] for each in reported} <= {"confirmed"}


def test_verdicts_count_in_the_record_of_the_model_and_in_the_registry(world: World) -> None:
    champion = ModelRef(name="shotwatch", version="1", run_id="")
    right = asyncio.run(raise_event(world, 16, model=champion))
    wrong = asyncio.run(raise_event(world, 17, model=champion))
    updated = asyncio.run(raise_event(world, 18, model=champion, opened=17))
    give_feedback(world, wrong, "confirmed")
    give_feedback(world, right, "confirmed")
    give_feedback(world, wrong, "false")
    give_feedback(world, updated, "false")

    def version(n: int) -> dict[str, Any]:
        found: dict[str, Any] = world.get("/models")["versions"][2 - n]
        return found

    assert version(1)["record"] == {"raised": 2, "confirmed": 1, "false": 1}
    assert version(2)["record"] == {"raised": 0, "confirmed": 0, "false": 0}
    counted = {"network": "small", "confirmed": "1", "false": "1"}
    give_up = time.monotonic() + 60
    while version(1)["tags"] != counted:
        assert time.monotonic() < give_up, version(1)["tags"]
        time.sleep(0.05)


def test_the_command_line_states_and_shows_the_same(world: World) -> None:
    event = asyncio.run(raise_event(world, 1))
    environment = {**world.environment, "SHOTWATCH_QUERY_URL": str(world.api.base_url.join("/"))[:-1]}

    def shotwatch_events(*arguments: str) -> list[Any]:
        result = CliRunner().invoke(app, ["events", *arguments, "--json"], env=environment)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    (confirmed,) = shotwatch_events("confirm", f"#{event.data.sequence}", "--label", "pointing")
    (snoozed,) = shotwatch_events("snooze", event.id, "--minutes", "30")
    (shown,) = shotwatch_events("show", event.id)
    assert shown["statements"] == [confirmed, snoozed]
    assert shown["standing"]["label"] == "pointing"
    listed = shotwatch_events("list", "--last", "1000", "--kind", "hot_spot")
    (found,) = (each for each in listed if each["event"]["id"] == event.id)
    assert found == {"event": shown["event"], "standing": shown["standing"]}


async def test_snoozes_and_labels_are_there_for_those_who_ask_the_archive(world: World) -> None:
    spot = await raise_event(world, 19)
    pointing = await raise_event(world, 19, kind=AnomalyKind.POINTING)
    now = epoch_now()
    give_feedback(world, pointing, "snoozed", until=now + HOUR)
    give_feedback(world, spot, "false")
    give_feedback(world, pointing, "confirmed")
    async with world.archive() as archive:
        found = await archive.shots.find(shot(19))
        assert found is not None
        assert await archive.feedback.labels([found]) == {
            shot(19): ShotLabels(frozenset({AnomalyKind.POINTING}), frozenset({AnomalyKind.HOT_SPOT}))
        }
        assert await archive.events.spans([spot.id]) == {spot.id: (spot.data.since, spot.data.until)}
        snoozed = Snooze(LA, AnomalyKind.POINTING, now + HOUR)
        assert snoozed in await archive.feedback.snoozes(epoch_now())
        assert snoozed not in await archive.feedback.snoozes(now + HOUR)


# Who may ask.


def bare(world: World) -> httpx.Client:
    """A client that nobody knows."""
    return httpx.Client(base_url=world.api.base_url, timeout=30)


def audited(world: World, who: str) -> list[dict[str, Any]]:
    changes = world.get("/audit", limit=1000)["changes"]
    return [change for change in changes if change["who"] == who]


def test_who_shows_no_key_or_a_wrong_one_is_asked_for_one(world: World) -> None:
    with bare(world) as stranger:
        for headers in ({}, {"Authorization": "Bearer shotwatch_wrong"}, {"Authorization": "Basic YTpi"}):
            answer = stranger.get("/shots", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"


def test_the_description_is_for_all_and_names_the_ways_in(world: World) -> None:
    with bare(world) as stranger:
        described = stranger.get("/openapi.json").json()
        assert stranger.get(f"{world.api.base_url.join('/docs')}").status_code == 200
    assert {each["type"] for each in described["components"]["securitySchemes"].values()} == {
        "http",
        "apiKey",
    }
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert {name for way in operation["security"] for name in way} == {"bearer", "cookie"}, path


def test_a_scope_that_is_missing_is_named(world: World) -> None:
    event = asyncio.run(raise_event(world, 2))
    reader, labeller = world.let_in("reader", "read"), world.let_in("labeller", "label")
    opinion = {"action": "acknowledged", "who": "amelie"}
    with bare(world) as client:
        assert client.get("/shots", headers=reader).status_code == 200
        assert client.get("/audit", headers=reader).json()["detail"] == "reader lacks the scope `admin`"
        refused = client.post(f"/events/{event.id}/feedback", json=opinion, headers=reader)
        assert (refused.status_code, refused.json()["detail"]) == (403, "reader lacks the scope `label`")
        assert 'scope="label"' in refused.headers["www-authenticate"]
        assert client.get("/shots", headers=labeller).status_code == 403
        assert client.post(f"/events/{event.id}/feedback", json=opinion, headers=labeller).is_success


def test_a_key_that_is_struck_out_or_has_expired_lets_nobody_in(world: World) -> None:
    guest = world.let_in("guest", "read")
    late = world.let_in("late", "read", datetime.now(UTC) - timedelta(seconds=1))
    with bare(world) as client:
        assert client.get("/facility", headers=guest).status_code == 200
        assert client.get("/facility", headers=late).status_code == 401
        struck = CliRunner().invoke(app, ["keys", "revoke", "guest"], env=world.environment)
        assert struck.exit_code == 0, struck.output
        assert client.get("/facility", headers=guest).status_code == 401


def test_every_change_and_every_try_is_audited_with_its_trace(world: World) -> None:
    event = asyncio.run(raise_event(world, 4))
    trace = {"traceparent": f"00-{'12' * 16}-{'34' * 8}-01"}
    known = world.let_in("audited", "label")
    opinion = {"action": "acknowledged", "who": "amelie"}
    path = f"/events/{event.id}/feedback"
    with bare(world) as client:
        client.post(path, json=opinion, headers={**known, **trace})
        client.post(path, json={"action": "nonsense"}, headers=known)
        client.post(path, json=opinion, headers=world.let_in("refused", "read"))
        assert client.post(path, json=opinion).status_code == 401
    failed, done = audited(world, "audited")
    assert (done["what"], done["which"]) == ("give_feedback", f"/api/v1{path}")
    assert (done["outcome"], done["status"], done["trace_id"]) == ("done", 201, "12" * 16)
    assert (failed["outcome"], failed["status"]) == ("failed", 422)
    assert [change["outcome"] for change in audited(world, "refused")] == ["refused"]
    stranger = audited(world, "stranger")[0]
    assert (stranger["outcome"], stranger["address"]) == ("refused", "127.0.0.1")
    environment = {**world.environment, "SHOTWATCH_QUERY_URL": str(world.api.base_url.join("/"))[:-1]}
    result = CliRunner().invoke(app, ["audit", "--last", "1000", "--json"], env=environment)
    assert done in [json.loads(line) for line in result.stdout.splitlines()], result.output


def test_a_browser_gets_in_by_the_form_and_other_sites_cannot_use_its_cookie(world: World) -> None:
    event = asyncio.run(raise_event(world, 6))
    key = world.let_in("browser", "read,label")["Authorization"].removeprefix("Bearer ")
    origin = str(world.api.base_url.join("/"))[:-1]
    feedback = {"url": f"/events/{event.id}/feedback", "json": {"action": "acknowledged", "who": "amelie"}}
    with bare(world) as browser:
        form = f"{origin}/login?next=//elsewhere.example"
        assert "<form" in browser.get(form).text
        assert browser.post(form, data={"key": key}).status_code == 401
        assert browser.post(form, data={"key": "wrong"}, headers={"Origin": origin}).status_code == 401
        logged_in = browser.post(form, data={"key": key}, headers={"Origin": origin})
        assert (logged_in.status_code, logged_in.headers["location"]) == (303, "/docs")
        cookie = logged_in.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/facility").status_code == 200
        assert browser.post(**feedback, headers={"Origin": "http://elsewhere.example"}).status_code == 401
        assert browser.post(**feedback).status_code == 401
        assert browser.post(**feedback, headers={"Origin": origin}).status_code == 201
        browser.post(f"{origin}/logout", headers={"Origin": origin})
        assert browser.get("/facility").status_code == 401


def test_a_body_without_end_is_refused(world: World) -> None:
    answer = world.api.post("/events/any/feedback", content=(b"x" * 1000 for _ in range(100)))
    assert answer.status_code == 413


# Large answers.

LONG = 1_000_000
BEFORE = 1_546_300_800_000
"""2019, when nothing else was recorded."""


async def keep_long_series(world: World) -> None:
    async with world.archive() as archive:
        for times in np.array_split(BEFORE + 100 * np.arange(LONG), 4):
            batch = closed(LA, [], times.tolist(), f"long-{times[0]}")
            column = {"energy": np.ones(len(times))}
            await archive.measurements.keep(batch, Source.FEATURES, {METER: column})


async def test_four_series_of_a_million_values_at_once_take_little_memory(world: World) -> None:
    await keep_long_series(world)
    span = {"from": BEFORE, "to": BEFORE + 100 * LONG, "feature": "energy"}
    callers = [world.let_in(f"greedy-{n}", "read") for n in range(2)]
    async with httpx.AsyncClient(base_url=world.api.base_url, timeout=120) as client:
        path = f"devices/{METER}/series"
        asked = [client.get(path, params=span, headers=callers[n % 2]) for n in range(4)]
        answers = await asyncio.gather(*asked)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) < 4
    for answer in refused:
        assert answer.status_code in (429, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert "ask" in answer.json()["detail"]
    for answer in set(answers) - set(refused):
        assert answer.content.count(b'Z"') == LONG
    assert peak_mib(world.pid) < 700


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / 1024


# The ledger, and the rest.


def test_the_ledger_states_how_objects_ended_and_what_does_not_add_up(world: World) -> None:
    span = {"from": FIRST_PULSE, "to": FIRST_PULSE + 1}
    balance = world.get("/ledger", **span)
    assert balance["states"] == dict.fromkeys(("ingested", "rejected", "ignored", "waiting"), 10) | {
        "dead_lettered": 0,
        "expired": 0,
    }
    assert balance["shots_deleted_until"] is None
    assert (balance["objects"], balance["bytes"]) == (40, 400)
    assert balance["reasons"] == {"empty": 10}
    assert balance["adds_up"] is None, "nobody has checked it"

    hour = Slice.at(Equality.RECORDS, FIRST_PULSE)
    asyncio.run(keep_checks(world, *(Reconciled(each, Outcome(), 1, 0, ()) for each in (INBOX, hour))))
    assert world.get("/ledger", **span)["adds_up"] is True
    wrong = Imbalance("object a (a.h5)", "ingested, and its records were never joined")
    asyncio.run(keep_checks(world, Reconciled(hour, Outcome({"validated": 7}, (wrong,)), 2, 0, ())))
    balance = world.get("/ledger", **span)
    (records,) = [each for each in balance["equalities"] if each["equality"] == "records"]
    assert (balance["adds_up"], records["imbalances"], records["counts"]) == (False, 1, {"validated": 7})
    named = {"slice": "records 2022-07-01T07", "subject": wrong.subject, "wrong": wrong.wrong}
    assert records["named"] == [named]
    assert world.get("/ledger", **{"from": FIRST_PULSE - DAY_MS, "to": FIRST_PULSE - HOUR})["adds_up"] is True


async def keep_checks(world: World, *results: Reconciled) -> None:
    async with world.archive() as archive:
        for result in results:
            await archive.reconciliations.write(result, again_at=0)


def test_objects_that_arrived_together_are_paged_without_loss(world: World) -> None:
    span = {"from": FIRST_PULSE, "to": FIRST_PULSE + 1, "limit": 7}
    page = world.get("/ledger/objects", **span)
    found = page["objects"]
    while page["next"]:
        page = world.get("/ledger/objects", **span, cursor=page["next"])
        found += page["objects"]
    assert [o["id"] for o in found] == [f"object-{n:02d}" for n in reversed(range(40))]


def test_an_object_reports_its_history(world: World) -> None:
    rejected = world.get("/ledger/objects", **{"from": FIRST_PULSE, "to": FIRST_PULSE + 1}, state="rejected")
    found = world.get(f"/ledger/objects/{rejected['objects'][0]['id']}")
    assert [step["state"] for step in found["history"]] == ["waiting", "rejected"]
    assert (found["state"], found["reason"], found["facts"]["records"]) == ("rejected", "empty", 7)


def test_the_facility_lists_its_places(world: World) -> None:
    facility = world.get("/facility")
    assert {"device": CAMERA, "kind": "Camera"} in next(
        place["devices"] for place in facility["places"] if place["place"] == "LA-A1-11"
    )
    assert [interval["period_ms"] for interval in facility["intervals"]] == [100, 1000, 60_000]


def test_models_report_versions_and_aliases(world: World) -> None:
    model = world.get("/models")
    assert model["aliases"] == {"champion": "1"}
    newest, champion = model["versions"]
    assert (newest["version"], newest["aliases"], newest["tags"]) == ("2", [], {"network": "report"})
    assert (champion["version"], champion["aliases"]) == ("1", ["champion"])
    assert model["loads"] == []


def test_models_report_what_replicas_have_loaded_as_long_as_they_run(world: World) -> None:
    champion, challenger = ModelAlias
    loads = [
        ModelLoad("a:1", champion, "2", "1", "bundle.json does not exist"),
        ModelLoad("a:1", challenger, None, None, ""),
    ]

    async def keep_and_read() -> Any:
        async with world.archive() as archive:
            await archive.model_loads.keep(loads)
            reported = world.get("/models")["loads"]
            stale = {"$set": {"at": epoch_now() - 60_000}}
            await archive._database["model_loads"].update_many({}, stale)
        return reported

    assert asyncio.run(keep_and_read()) == [
        {
            "replica": "a:1",
            "alias": "challenger",
            "version": None,
            "loaded": None,
            "problem": "",
        },
        {
            "replica": "a:1",
            "alias": "champion",
            "version": "2",
            "loaded": "1",
            "problem": "champion: version 2 cannot be loaded: bundle.json does not exist; "
            "judging with version 1",
        },
    ]
    assert world.get("/models")["loads"] == []


def test_health_states_that_every_server_answers(world: World) -> None:
    assert world.get("/health") == dict.fromkeys(("status", "database", "store", "models"), "ok")


def test_without_its_servers_every_answer_reports_it_and_the_service_ends_cleanly(
    world: World, tmp_path: Path
) -> None:
    api, health, nothing = free_port(), free_port(), f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        **world.environment,
        "SHOTWATCH_DATABASE_URL": f"mongodb://{nothing}",
        "SHOTWATCH_STORE_URL": f"http://{nothing}",
        "SHOTWATCH_MODELS_URL": f"http://{nothing}",
        "SHOTWATCH_QUERY_PORT": str(api),
        "SHOTWATCH_HEALTH_PORT": str(health),
        "SHOTWATCH_TRACES_FOLDER": str(tmp_path),
    }
    with subprocess.Popen([sys.executable, "-m", "shotwatch_query"], env=environment) as process:
        base = f"http://127.0.0.1:{api}/api/v1"
        wait_for(f"{base}/facility")
        known = {"Authorization": world.api.headers["Authorization"]}
        caller = {**known, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        for path in (f"/shots/{shot(0)}", f"/blocks/{block_key(METER)}", "/models", "/events/stream"):
            answer = httpx.get(base + path, timeout=30, headers=caller)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
        assert httpx.get(f"{base}/health", timeout=30, headers=known).json()["status"] == "degraded"
        assert httpx.get(f"http://127.0.0.1:{health}/live").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{health}/ready", timeout=30).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(base)
    spans = [json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert [s["name"] for s in spans if s["context"]["trace_id"] == f"0x{'ab' * 16}"] == [
        "GET /api/v1/shots/{shot}",
        "GET /api/v1/blocks/{key}",
        "GET /api/v1/models",
        "GET /api/v1/events/stream",
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            httpx.get(url)
        except httpx.ConnectError:
            assert time.monotonic() < give_up, f"{url} does not answer"
            time.sleep(0.05)
        else:
            return


async def test_a_device_in_the_year_9999_is_the_end_of_no_view(world: World) -> None:
    """As older versions stored it: the end of data would have been a time that no calendar has."""
    device, end_of_time = "LB_A1_11-EM_4-EnergyMeter-4", 253_402_300_799_999
    paths = ("/reports", "/shots", "/devices", f"/devices/{METER}/report", f"/devices/{METER}/energy")

    def shown() -> dict[str, Any]:
        """All but where the next page begins: a page that takes too long ends before its span does."""
        views = {path: world.get(path) for path in paths}
        return {path: {**view, "next": None} for path, view in views.items()}

    before = shown()
    async with AsyncMongoClient(world.environment["SHOTWATCH_DATABASE_URL"]) as client:
        devices = client["shotwatch"]["devices"]
        await devices.insert_one({"_id": device, "time": end_of_time, "state": "ON"})
        try:
            assert shown() == before
            assert all(each["recorded_at"] < "9999" for each in world.get("/places")["places"])
        finally:
            await devices.delete_one({"_id": device})
