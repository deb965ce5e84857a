"""The REST API as a real process, on a real database and object store with two places' shots in them."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
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
from schemathesis.checks import positive_data_acceptance

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.ledger import Entry
from shotwatch_common.archive.measurements import Source
from shotwatch_common.archive.shots import Verdict
from shotwatch_common.blocks import Block, write_block
from shotwatch_common.contracts import (
    ABSENT,
    VALID,
    Anomaly,
    AnomalyEvent,
    BlockRef,
    Member,
    ObjectRef,
    PlaceRef,
    ShotsClosed,
)
from shotwatch_common.facility import Place
from shotwatch_common.identity import event_id, residual_key
from shotwatch_common.pulses import shot_id
from shotwatch_common.store import ObjectStore
from shotwatch_common.vocabulary import AnomalyKind, DeviceKind, ObjectState, Severity
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_query.service import create_app
from shotwatch_query.sources import Sources

FACILITY = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
FIRST_PULSE = 1_656_660_780_100
"""2022-07-01 07:33:00.100 UTC."""
SHOTS = 20
UNREADABLE, MISSING, ODD = 3, 5, 7
"""Which shots of LA have an unreadable frame, no energy, an anomaly."""
LA = PlaceRef(frontend="LA", amp="A1", arm="11", interval="100ms")
LB = PlaceRef(frontend="LB", amp="A1", arm="11", interval="100ms")
CAMERA, SPECTRO, METER = (
    "LA_A1_11-Camera_1-Camera-1",
    "LA_A1_11-Spectro_1-Spectro-1",
    "LA_A1_11-EM_1-EnergyMeter-1",
)


@dataclass(frozen=True)
class World:
    """A running API and what lies behind it."""

    api: httpx.Client
    environment: dict[str, str]

    def archive(self) -> Archive:
        return Archive(self.environment["SHOTWATCH_DATABASE_URL"], "shotwatch")

    def store(self) -> ObjectStore:
        keys = ("SHOTWATCH_STORE_URL", "SHOTWATCH_STORE_ACCESS_KEY", "SHOTWATCH_STORE_SECRET_KEY")
        return ObjectStore(*(self.environment[key] for key in keys))

    def get(self, path: str, **query: Any) -> Any:
        answer = self.api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    root = tmp_path_factory.mktemp("stack")
    no_broker = {"SHOTWATCH_BROKER_URL": "amqp://nobody"}
    async with Stack.claim(root, "query", facility=FACILITY, settings=no_broker) as stack:
        (query,) = (spec for spec in path_services() if spec.name == "query")
        stack.start_services([query])
        await stack.services_ready()
        (port,) = (
            process.ports["SHOTWATCH_QUERY_PORT"] for process in stack.status() if process.name == "query-1"
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            world = World(client, stack.environment())
            await fill(world)
            yield world


# What lies in the database and the store.


def pulses() -> list[int]:
    return [FIRST_PULSE + 100 * n for n in range(SHOTS)]


def shot(n: int, place: PlaceRef = LA) -> str:
    return shot_id(Place(place.frontend, place.amp, place.arm), place.interval, FIRST_PULSE + 100 * n)


def recorded() -> dict[str, Block]:
    """The blocks of the devices of LA."""
    random = np.random.default_rng(1)
    arrays = {
        CAMERA: {"image": random.integers(0, 4093, (SHOTS, 102, 128), np.uint16)},
        SPECTRO: {"spectrum": random.normal(1000, 300, (SHOTS, 2047)).astype(np.float32)},
        METER: {"energy1": random.normal(1, 0.1, SHOTS), "energy2": np.full(SHOTS, np.nan)},
    }
    readable = np.arange(SHOTS) != UNREADABLE
    return {
        device: Block(
            device,
            np.array(pulses()) + 7,
            ["ON"] * SHOTS,
            readable if device == CAMERA else np.ones(SHOTS, bool),
            columns,
        )
        for device, columns in arrays.items()
    }


def block_key(device: str) -> str:
    return f"2022-07-01/0123abcd/{device}.arrow"


def member(
    device: str, kind: DeviceKind, *, missing: int | None = None, refused: int | None = None
) -> Member:
    """A device whose rows are the shots, but for one that is missing or refused."""
    source, verdict = [0] * SHOTS, [VALID] * SHOTS
    if missing is not None:
        source[missing] = ABSENT
    if refused is not None:
        verdict[refused] = 1
    return Member(
        device=device,
        kind=kind,
        blocks=[
            BlockRef(bucket="blocks", key=block_key(device), object_id="0123abcd", object_key=f"{device}.h5")
        ],
        source=source,
        row=list(range(SHOTS)),
        reasons=["wrong_shape: 101 x 128"],
        verdict=verdict,
        on=[True] * SHOTS,
    )


def closed(place: PlaceRef, members: Sequence[Member], shot_pulses: Sequence[int], batch: str) -> ShotsClosed:
    return ShotsClosed(
        batch_id=batch,
        window_id=batch,
        place=place,
        pulses=list(shot_pulses),
        revisions=[1] * len(shot_pulses),
        complete=[
            all(m.source[n] != ABSENT and m.verdict[n] == VALID for m in members)
            for n in range(len(shot_pulses))
        ],
        members=list(members),
        last_arrival=0,
    )


def anomaly_event(n: int, sequence: int, kind: AnomalyKind = AnomalyKind.HOT_SPOT) -> AnomalyEvent:
    anomaly = Anomaly(
        sequence=sequence,
        shot=shot(n),
        revision=1,
        time=FIRST_PULSE + 100 * n,
        place=LA,
        kind=kind,
        severity=Severity.CRITICAL,
        devices=[CAMERA],
        score=9.5,
        threshold=6.0,
        why="hot spot: 9.5 σ",
        contributions=[],
        evidence=[],
        image_url=f"/api/v1/shots/{shot(n)}/devices/{CAMERA}/image",
        residual_url=None,
        model=None,
        supersedes=[],
        trace_id="0" * 32,
    )
    return AnomalyEvent(
        id=event_id(anomaly.shot, kind, 1),
        source="/shotwatch/HPLS",
        subject=anomaly.shot,
        time="2022-07-01T07:34:00Z",
        trace_parent="",
        data=anomaly,
    )


def residual() -> np.ndarray[Any, Any]:
    return np.linspace(-1, 2, 102 * 128, dtype=np.float32).reshape(102, 128)


async def fill(world: World) -> None:
    async with world.archive() as archive, world.store() as store:
        await archive.ensure_indexes()
        await fill_store(store)
        await fill_shots(archive)
        await fill_ledger(archive)
    register_models(world.environment["SHOTWATCH_MODELS_URL"])


def register_models(url: str) -> None:
    """Two versions of the model, the first one champion."""

    def post(path: str, **body: Any) -> Any:
        answer = httpx.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=30)
        return answer.raise_for_status().json()

    run = post("runs/create", experiment_id="0")["run"]["info"]
    post("registered-models/create", name="shotwatch")
    for network in ("small", "report"):
        post(
            "model-versions/create",
            name="shotwatch",
            source=f"{run['artifact_uri']}/model",
            run_id=run["run_id"],
            tags=[{"key": "network", "value": network}],
        )
    post("registered-models/alias", name="shotwatch", alias="champion", version="1")


async def fill_store(store: ObjectStore) -> None:
    await store.ensure_buckets("blocks")
    for device, block in recorded().items():
        await store.put("blocks", block_key(device), write_block(block))
    file = io.BytesIO()
    np.save(file, residual())
    await store.put("blocks", residual_key(shot(ODD), CAMERA), file.getvalue())


async def fill_shots(archive: Archive) -> None:
    members = [
        member(CAMERA, DeviceKind.CAMERA, refused=UNREADABLE),
        member(SPECTRO, DeviceKind.SPECTRO),
        member(METER, DeviceKind.ENERGY_METER, missing=MISSING),
    ]
    batch = closed(LA, members, pulses(), "LA-batch")
    centroids = np.full(SHOTS, 63.5)
    await archive.measurements.keep(batch, Source.FEATURES, {CAMERA: {"centroid_x": centroids}})
    usual = Verdict(score=1.0, threshold=5.0)
    verdicts = [usual] * SHOTS
    verdicts[ODD] = Verdict(9.5, 5.0, [AnomalyKind.HOT_SPOT], Severity.CRITICAL)
    verdicts[0] = replace(usual, score=float("nan"))
    await judge(archive, batch, verdicts)
    await judge(archive, closed(LB, [], pulses(), "LB-batch"), [Verdict(None, None)] * SHOTS)
    await archive.devices.saw(CAMERA, LastState(pulses()[-1] + 7, "ON"))
    await archive.events.add([anomaly_event(ODD, await archive.events.reserve(1))])


async def judge(archive: Archive, batch: ShotsClosed, verdicts: Sequence[Verdict]) -> None:
    await archive.batches.add(batch)
    await archive.shots.write(batch, verdicts, None, "0" * 32)
    await archive.batches.judged(batch.batch_id)


async def fill_ledger(archive: Archive) -> None:
    states = [ObjectState.INGESTED, ObjectState.REJECTED, ObjectState.IGNORED, ObjectState.WAITING]
    for n in range(40):
        ref = ObjectRef(
            object_id=f"object-{n:02d}",
            bucket="inbox",
            key=f"{n}.h5",
            etag="e",
            size=10,
            arrived_at=FIRST_PULSE,
        )
        await archive.ledger.enter(ref, "ingest")
        state = states[n % 4]
        if state is not ObjectState.WAITING:
            reason = "empty" if state is ObjectState.REJECTED else ""
            await archive.ledger.settle(ref.object_id, Entry(state, "ingest", "why"), reason, {"records": 7})


# The contract.


OPENAPI = create_app(cast(Sources, None)).openapi()
"""The description needs nothing that lies behind the API."""


def test_the_api_serves_its_description(world: World) -> None:
    assert world.get("/openapi.json") == OPENAPI


@schemathesis.openapi.from_dict(OPENAPI).parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_description_says(world: World, case: Any) -> None:
    # A made-up cursor is a string like any other to the schema, yet none of ours.
    excluded = [positive_data_acceptance] if "cursor" in case.query else []
    case.call_and_validate(
        base_url=str(world.api.base_url).removesuffix("/api/v1/"), excluded_checks=excluded
    )


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
    assert pages(world, amp="A1", order="oldest", limit=limit) == expected


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_pages_list_every_shot_once_newest_first(world: World, limit: int) -> None:
    expected = [shot(n, place) for n in reversed(range(SHOTS)) for place in (LB, LA)]
    assert pages(world, amp="A1", order="newest", limit=limit) == expected


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_shots_that_come_in_between_pages_make_none_appear_twice_or_never(world: World, order: str) -> None:
    known = pages(world, order=order, limit=1000)
    first = world.get("/shots", order=order, limit=15)
    place = PlaceRef(frontend="LA", amp="F1" if order == "oldest" else "F2", arm="00", interval="100ms")
    asyncio.run(close(world, closed(place, [], pulses(), f"late-{order}")))
    listed = [found["id"] for found in first["shots"]]
    listed += pages(world, first["next"], order=order, limit=15)
    assert [found for found in listed if found in known] == known


async def close(world: World, batch: ShotsClosed) -> None:
    async with world.archive() as archive:
        await judge(archive, batch, [Verdict(None, None)] * len(batch.pulses))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"frontend": "LA", "amp": "A1", "arm": "11"}, range(SHOTS)),
        ({"frontend": "LA", "amp": "A1", "interval": "1s"}, []),
        ({"kind": "hot_spot"}, [ODD]),
        ({"kind": "hot_spot", "frontend": "LA", "amp": "A1", "arm": "11"}, [ODD]),
        ({"kind": "hot_spot", "frontend": "LB"}, []),
        ({"kind": "pointing"}, []),
        ({"min_score": 9}, [ODD]),
        ({"min_score": 9, "frontend": "LA", "amp": "A1", "arm": "11"}, [ODD]),
        ({"complete": False, "frontend": "LA", "amp": "A1"}, [UNREADABLE, MISSING]),
    ],
)
def test_a_search_finds_what_it_asks_for(
    world: World, query: dict[str, Any], expected: Sequence[int]
) -> None:
    assert pages(world, order="oldest", **query) == [shot(n) for n in expected]


def test_times_are_told_in_rfc_3339_or_in_epoch_milliseconds(world: World) -> None:
    local: dict[str, Any] = {"from": "2022-07-01T09:33:00.300+02:00", "to": "2022-07-01T07:33:00.6Z"}
    epoch: dict[str, Any] = {"from": FIRST_PULSE + 200, "to": FIRST_PULSE + 500}
    expected = [shot(n, LB) for n in (4, 3, 2)]
    assert pages(world, frontend="LB", **local) == pages(world, frontend="LB", **epoch) == expected


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
def test_a_search_that_makes_no_sense_is_told_why(world: World, query: dict[str, Any]) -> None:
    answer = world.api.get("/shots", params=query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert next(iter(query)) in answer.text


# One shot.


def test_a_shot_tells_its_members_and_what_is_wrong_with_them(world: World) -> None:
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


def test_a_shot_tells_features_score_and_anomalies(world: World) -> None:
    odd = world.get(f"/shots/{shot(ODD)}")
    (feature,) = odd["features"]
    assert (feature["name"], feature["value"], feature["unit"]) == ("centroid_x", 63.5, "px")
    assert feature["description"].startswith("Column of the centre of light")
    assert (odd["score"], odd["threshold"], odd["kinds"]) == (9.5, 5.0, ["hot_spot"])
    assert [anomaly["why"] for anomaly in odd["reasons"]["anomalies"]] == ["hot spot: 9.5 σ"]
    assert odd["revisions"][0]["revision"] == 1
    assert odd["trace_id"] == "0" * 32


def test_a_score_that_is_no_number_is_null(world: World) -> None:
    assert world.get(f"/shots/{shot(0)}")["score"] is None


# What devices recorded.


def record(world: World, device: str, what: str, n: int = ODD, **query: Any) -> bytes:
    answer = world.api.get(f"/shots/{shot(n)}/devices/{device}/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_frame_comes_back_count_for_count_in_every_format(world: World) -> None:
    frame = recorded()[CAMERA].arrays["image"][ODD]
    assert np.array_equal(np.load(io.BytesIO(record(world, CAMERA, "image", format="npy"))), frame)
    csv = np.loadtxt(io.BytesIO(record(world, CAMERA, "image", format="csv")), delimiter=",")
    assert np.array_equal(csv, frame)
    document = world.get(f"/shots/{shot(ODD)}/devices/{CAMERA}/image", format="json")
    assert (document["values"], document["unit"]) == (frame.tolist(), "counts")
    grey = Image.open(io.BytesIO(record(world, CAMERA, "image", colour=False)))
    assert np.array_equal(np.asarray(grey), frame)


def test_a_frame_in_colour_is_brightest_where_the_light_is(world: World) -> None:
    frame = recorded()[CAMERA].arrays["image"][ODD]
    picture = np.asarray(Image.open(io.BytesIO(record(world, CAMERA, "image"))).convert("L"), float)
    assert np.corrcoef(picture.ravel(), frame.ravel())[0, 1] > 0.98


def test_a_spectrum_comes_back_exactly(world: World) -> None:
    spectrum = recorded()[SPECTRO].arrays["spectrum"][ODD]
    assert np.array_equal(np.load(io.BytesIO(record(world, SPECTRO, "spectrum", format="npy"))), spectrum)
    file = io.BytesIO(record(world, SPECTRO, "spectrum", format="csv"))
    samples, values = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32, unpack=True)
    assert np.array_equal(values, spectrum)
    assert np.array_equal(samples, np.arange(2047))
    plot = Image.open(io.BytesIO(record(world, SPECTRO, "spectrum")))
    assert plot.size == (800, 400)


def test_the_residual_of_an_odd_frame_comes_back_exactly(world: World) -> None:
    assert np.array_equal(np.load(io.BytesIO(record(world, CAMERA, "residual", format="npy"))), residual())
    picture = Image.open(io.BytesIO(record(world, CAMERA, "residual"))).convert("RGB")
    red, _, blue = picture.getpixel((127, 101))
    assert red > blue


def test_a_row_tells_the_energies_with_their_unit(world: World) -> None:
    row = world.get(f"/shots/{shot(ODD)}/devices/{METER}/row")
    energy = recorded()[METER].arrays["energy1"][ODD]
    assert row["values"] == {"energy1": energy, "energy2": None}
    assert (row["unit"], row["state"], row["row"]) == ("J", "ON", ODD)
    assert row["time"] == "2022-07-01T07:33:00.807000Z"
    header, line = record(world, METER, "row", format="csv").decode().split()
    assert dict(zip(header.split(","), line.split(","), strict=True))["energy1"] == repr(float(energy))


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/shots/LA-nowhere", "LA-nowhere"),
        (f"/shots/{shot(0)}/devices/LA_A1_11-Camera_9-Camera-9/image", "Camera-9"),
        (f"/shots/{shot(0)}/devices/{METER}/image", "image"),
        (f"/shots/{shot(0)}/devices/{CAMERA}/residual", "residuals"),
        (f"/shots/{shot(MISSING)}/devices/{METER}/row", "has no record"),
        (f"/shots/{shot(UNREADABLE)}/devices/{CAMERA}/image", "wrong_shape: 101 x 128"),
        ("/blocks/2022-07-01/none.arrow", "none.arrow"),
        ("/blocks/%2e%2e/data/x", "../data/x"),
        (f"/blocks/{residual_key(shot(ODD), CAMERA)}", "there is no block"),
        ("/events/none", "none"),
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


# Events.


async def reserve(world: World, count: int) -> int:
    async with world.archive() as archive:
        return await archive.events.reserve(count)


async def add(world: World, event: AnomalyEvent) -> None:
    async with world.archive() as archive:
        await archive.events.add([event])


def test_an_event_waits_for_its_predecessor(world: World) -> None:
    last = world.get("/events")["last"]
    first = asyncio.run(reserve(world, 2))
    asyncio.run(add(world, anomaly_event(11, first + 1)))
    held_back = world.get("/events", since=last)
    assert (held_back["events"], held_back["last"]) == ([], last)
    asyncio.run(add(world, anomaly_event(10, first)))
    both = world.get("/events", since=last)
    assert [event["subject"] for event in both["events"]] == [shot(10), shot(11)]
    assert both["last"] == first + 1


def test_a_subscriber_can_go_on_from_the_last_number_page_by_page(world: World) -> None:
    everything = world.get("/events")
    seen, page = [], {"last": 0, "more": True}
    while page["more"]:
        page = world.get("/events", since=page["last"], limit=1)
        seen += page["events"]
    assert seen == everything["events"]
    assert not everything["more"]


def test_events_can_be_filtered_and_still_say_how_far_the_search_went(world: World) -> None:
    everything = world.get("/events")
    none = world.get("/events", kind="pointing")
    assert (none["events"], none["last"]) == ([], everything["last"])
    assert world.get("/events", kind="hot_spot", frontend="LA")["events"] == everything["events"]


def test_an_event_keeps_to_its_published_schema(world: World) -> None:
    schema = world.get("/schemas/anomaly-event.json")
    for event in world.get("/events")["events"]:
        jsonschema.validate(event, schema, jsonschema.Draft202012Validator)
        assert world.get(f"/events/{event['id']}") == event


# The ledger, and the rest.


def test_the_ledger_adds_up(world: World) -> None:
    balance = world.get("/ledger", **{"from": FIRST_PULSE, "to": FIRST_PULSE + 1})
    assert balance["states"] == dict.fromkeys(("ingested", "rejected", "ignored", "waiting"), 10) | {
        "dead_lettered": 0
    }
    assert (balance["objects"], balance["bytes"], balance["adds_up"]) == (40, 400, True)
    assert balance["reasons"] == {"empty": 10}


def test_objects_that_arrived_together_are_paged_without_loss(world: World) -> None:
    span = {"from": FIRST_PULSE, "to": FIRST_PULSE + 1, "limit": 7}
    page = world.get("/ledger/objects", **span)
    found = page["objects"]
    while page["next"]:
        page = world.get("/ledger/objects", **span, cursor=page["next"])
        found += page["objects"]
    assert [o["id"] for o in found] == [f"object-{n:02d}" for n in reversed(range(40))]


def test_an_object_tells_its_history(world: World) -> None:
    rejected = world.get("/ledger/objects", **{"from": FIRST_PULSE, "to": FIRST_PULSE + 1}, state="rejected")
    found = world.get(f"/ledger/objects/{rejected['objects'][0]['id']}")
    assert [step["state"] for step in found["history"]] == ["waiting", "rejected"]
    assert (found["state"], found["reason"], found["facts"]["records"]) == ("rejected", "empty", 7)


def test_the_facility_lists_its_places(world: World) -> None:
    facility = world.get("/facility")
    assert {"device": CAMERA, "kind": "Camera"} in next(
        place["devices"] for place in facility["places"] if (place["frontend"], place["arm"]) == ("LA", "11")
    )
    assert [interval["period_ms"] for interval in facility["intervals"]] == [100, 1000, 60_000]


def test_models_tell_versions_and_aliases(world: World) -> None:
    model = world.get("/models")
    assert model["aliases"] == {"champion": "1"}
    newest, champion = model["versions"]
    assert (newest["version"], newest["aliases"], newest["tags"]) == ("2", [], {"network": "report"})
    assert (champion["version"], champion["aliases"]) == ("1", ["champion"])


def test_health_says_that_every_server_answers(world: World) -> None:
    assert world.get("/health") == dict.fromkeys(("status", "database", "store", "models"), "ok")


def test_without_its_servers_every_answer_says_so_and_the_service_ends_cleanly(
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
        caller = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        for path in (f"/shots/{shot(0)}", f"/blocks/{block_key(METER)}", "/models"):
            answer = httpx.get(base + path, timeout=30, headers=caller)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"]
        assert httpx.get(f"{base}/health", timeout=30).json()["status"] == "degraded"
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
