"""The REST API as a real process, on a real database and object store with two places' shots in them."""

import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.measurements import Source
from shotwatch_common.block import Block
from shotwatch_common.blocks import write_block
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_operations.api_keys import make_key, read_scopes
from shotwatch_shots.batch import ABSENT, Member, ShotBatch
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.event import Anomaly, AnomalyEvent, Evidence, ModelRef
from shotwatch_shots.identity import event_id, residual_key
from shotwatch_shots.ledger import Entry, ReadFacts
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import shot_id
from shotwatch_shots.records import VALID, BlockRef, JudgedRecords, ObjectRef
from shotwatch_shots.shot import ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind, CalibrationKind, ObjectState, Phase, Scope, Severity
from tests.facilities import FACILITY
from tests.issuer import AUDIENCE, Provider, served

FIRST_PULSE = 1_656_660_780_100
"""2022-07-01 07:33:00.100 UTC."""
SHOTS = 20
UNREADABLE, MISSING, ANOMALOUS = 3, 5, 7
"""Which shots of LA have an unreadable frame, no energy, an anomaly."""
LA = ShotSeries.parse("LA-A1-11-100ms")
LB = ShotSeries.parse("LB-A1-11-100ms")
CAMERA, SPECTRO, METER = (
    "LA_A1_11-Camera_1-Camera-1",
    "LA_A1_11-Spectro_1-Spectro-1",
    "LA_A1_11-EM_1-EnergyMeter-1",
)
OTHER_CAMERA = "LA_A1_11-Camera_2-Camera-2"
EXPIRED = "LB_A1_11-Camera_1-Camera-1"
"""A camera whose block is gone from the store."""
MINUTE, HOUR = 60_000, 3_600_000
ENERGIES_FROM = FIRST_PULSE - 2 * HOUR


@dataclass(frozen=True)
class World:
    """A running API and what lies behind it."""

    api: httpx.Client
    environment: dict[str, str]
    issuer: Provider
    """Whose tokens are let in, too. It answers while the tests' event loop runs."""
    pid: int
    """Of the process that answers."""

    @property
    def keys(self) -> Path:
        return Path(self.environment["SHOTWATCH_QUERY_KEYS_FILE"])

    def let_in(self, name: str, scopes: str, expires: datetime | None = None) -> dict[str, str]:
        """A new key, as a header."""
        secret, key = make_key(name, read_scopes(scopes), expires)
        self.keys.write_text(f"{self.keys.read_text()}{key.line()}\n")
        return {"Authorization": f"Bearer {secret}"}

    def archive(self) -> Archive:
        return Archive.at(self.environment["SHOTWATCH_DATABASE_URL"], "shotwatch")

    def store(self) -> ObjectStore:
        keys = ("SHOTWATCH_STORE_URL", "SHOTWATCH_STORE_ACCESS_KEY", "SHOTWATCH_STORE_SECRET_KEY")
        return ObjectStore.at(*(self.environment[key] for key in keys))

    def get(self, path: str, **query: Any) -> Any:
        answer = self.api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def started_world(root: Path) -> AsyncIterator[World]:
    """The API on a stack of its own, filled."""
    keys = root / "keys"
    all_scopes, known = make_key("tests", frozenset(Scope), None)
    keys.write_text(known.line() + "\n")
    variables = {
        "SHOTWATCH_QUERY_KEYS_FILE": str(keys),
        "SHOTWATCH_API_KEY": all_scopes,
        # the tests ask for more than anybody else, and without a key too: others test the limits
        "SHOTWATCH_QUERY_REQUESTS_PER_SECOND": "10000",
        "SHOTWATCH_QUERY_STRANGERS_PER_SECOND": "10000",
    }
    no_broker = {"SHOTWATCH_BROKER_URL": "amqp://nobody"}
    issuer = Provider()
    issuer.rotate("first")
    claimed = Stack.claim(root, "query", facility=FACILITY, settings=no_broker)
    async with served(issuer), claimed as stack:
        tokens = {"SHOTWATCH_QUERY_OIDC_ISSUER": issuer.url, "SHOTWATCH_QUERY_OIDC_AUDIENCE": AUDIENCE}
        (query,) = (spec for spec in path_services() if spec.name == "query")
        stack.start_services([replace(query, environment={**query.environment, **variables, **tokens})])
        await stack.services_ready()
        (process,) = (each for each in stack.status() if each.name == "query-1")
        port = process.ports["SHOTWATCH_QUERY_PORT"]
        base, shown = f"http://127.0.0.1:{port}/api/v1", {"Authorization": f"Bearer {all_scopes}"}
        with httpx.Client(base_url=base, headers=shown, timeout=30) as client:
            world = World(client, {**stack.environment(), **variables}, issuer, process.pid or 0)
            await fill(world)
            yield world


# What lies in the database and the store.


def pulses() -> list[int]:
    return [FIRST_PULSE + 100 * n for n in range(SHOTS)]


def shot(n: int, series: ShotSeries = LA) -> str:
    return shot_id(series, FIRST_PULSE + 100 * n)


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


def closed(
    series: ShotSeries, members: Sequence[Member], shot_pulses: Sequence[int], batch: str
) -> ShotBatch:
    return ShotBatch(
        batch_id=batch,
        window_id=batch,
        series=series,
        pulses=list(shot_pulses),
        revisions=[1] * len(shot_pulses),
        complete=[
            all(m.source[n] != ABSENT and m.verdict[n] == VALID for m in members)
            for n in range(len(shot_pulses))
        ],
        members=list(members),
        last_arrival=0,
    )


def anomaly_event(
    n: int,
    sequence: int,
    kind: AnomalyKind = AnomalyKind.HOT_SPOT,
    *,
    model: ModelRef | None = None,
    opened: int | None = None,
    series: ShotSeries = LA,
    why: str = "hot spot: 9.5 σ",
    phase: Phase | None = None,
    evidence: Sequence[Evidence] = (),
) -> AnomalyEvent:
    """Shot n is anomalous; so has the beam been since shot `opened`."""
    anomaly = Anomaly(
        sequence=sequence,
        shot=shot(n, series),
        revision=1,
        time=FIRST_PULSE + 100 * n,
        place=series.place,
        interval=series.interval,
        kind=kind,
        severity=Severity.CRITICAL,
        devices=[CAMERA],
        score=9.5,
        threshold=6.0,
        why=why,
        contributions=[],
        evidence=list(evidence),
        image_url=f"/api/v1/shots/{shot(n, series)}/devices/{CAMERA}/image",
        residual_url=None,
        model=model,
        incident=event_id(shot(n if opened is None else opened, series), kind, 1),
        phase=phase or (Phase.OPENED if opened is None else Phase.UPDATED),
        since=0,
        until=0,
        shots=1,
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
        await fill_records(archive)
        await fill_measurements(archive)
        await fill_ledger(archive)
    register_models(world.environment)


def register_models(environment: Mapping[str, str]) -> None:
    """Two versions of the model, the first one champion."""
    url = environment["SHOTWATCH_MODELS_URL"]
    login = environment["SHOTWATCH_MODELS_USER"], environment["SHOTWATCH_MODELS_PASSWORD"]

    def post(path: str, **body: Any) -> Any:
        answer = httpx.post(f"{url}/api/2.0/mlflow/{path}", json=body, auth=login, timeout=30)
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
    await store.ensure_buckets("blocks", "tables")
    for device, block in recorded().items():
        await store.put("blocks", block_key(device), write_block(block))
    file = io.BytesIO()
    np.save(file, residual())
    await store.put("blocks", residual_key(shot(ANOMALOUS), CAMERA), file.getvalue())


async def fill_shots(archive: Archive) -> None:
    members = [
        member(CAMERA, DeviceKind.CAMERA, refused=UNREADABLE),
        member(SPECTRO, DeviceKind.SPECTRO),
        member(METER, DeviceKind.ENERGY_METER, missing=MISSING),
    ]
    batch = closed(LA, members, pulses(), "LA-batch")
    centroids = np.full(SHOTS, 63.5)
    await archive.measurements.keep(batch, Source.FEATURES, {CAMERA: {"centroid_x": centroids}})
    normal = ShotVerdict(score=1.0, threshold=5.0)
    verdicts = [normal] * SHOTS
    verdicts[ANOMALOUS] = ShotVerdict(9.5, 5.0, (AnomalyKind.HOT_SPOT,), Severity.CRITICAL)
    verdicts[0] = replace(normal, score=float("nan"))
    await judge(archive, batch, verdicts)
    beside = closed(LB, [member(EXPIRED, DeviceKind.CAMERA)], pulses(), "LB-batch")
    await judge(archive, beside, [ShotVerdict(None, None)] * SHOTS)
    await archive.devices.saw(CAMERA, LastState(pulses()[-1] + 7, "ON"), epoch_now())
    await store_event(archive, anomaly_event(ANOMALOUS, 0))


async def judge(archive: Archive, batch: ShotBatch, verdicts: Sequence[ShotVerdict]) -> None:
    await archive.batches.add(batch)
    await archive.shots.write(batch, verdicts, None, "0" * 32)
    await archive.batches.judged(batch.batch_id)


async def fill_records(archive: Archive) -> None:
    """The first camera has no records of shots 8 to 10, is in STANDBY from shot 16, 4 ms after the second."""
    recorded_shots = [n for n in range(SHOTS) if n not in (8, 9, 10)]
    await keep_records(archive, CAMERA, [pulses()[n] + 7 for n in recorded_shots], standby=4, refused=1)
    await keep_records(archive, OTHER_CAMERA, [pulse + 3 for pulse in pulses()])
    newest = CalibrationConstants(
        CAMERA, CalibrationKind.NOISE, 2, FIRST_PULSE + 3, FIRST_PULSE, FIRST_PULSE + 1, 50, "b", "k"
    )
    for made in (replace(newest, version=1), newest):
        await archive.calibration_constants.add(made)


async def keep_records(
    archive: Archive, device: str, times: list[int], standby: int = 0, refused: int = 0
) -> None:
    """Records of which the last few are in STANDBY, and the first few black."""
    block = BlockRef(bucket="blocks", key=block_key(device), object_id="0123abcd", object_key="r.h5")
    obj = ObjectRef(
        object_id="0123abcd", bucket="inbox", key="r.h5", etag="e", size=10, arrived_at=FIRST_PULSE
    )
    judged = JudgedRecords(
        device=device,
        kind=DeviceKind.CAMERA,
        series=LA,
        block=block,
        times=times,
        states=["ON", "STANDBY"],
        state=[0] * (len(times) - standby) + [1] * standby,
        reasons=["black_frame: 12"],
        verdict=[1] * refused + [VALID] * (len(times) - refused),
    )
    await archive.records.keep(obj, judged)


async def fill_measurements(archive: Archive) -> None:
    """Energies of twenty seconds, two hours ago; a spectrum that jumped half an hour ago."""
    times = [ENERGIES_FROM + 100 * n for n in range(len(energies()))]
    measured = {
        METER: {"energy": energies(), "energy_disagreement": disagreements()},
        CAMERA: {"total_intensity": 1000 * energies()},
    }
    await archive.measurements.keep(closed(LA, [], times, "energies"), Source.FEATURES, measured)
    for minute, position in enumerate(spectrum_positions()):
        batch = closed(LA, [], [FIRST_PULSE - HOUR + minute * MINUTE], f"minute-{minute}")
        column = {"spectrum_centroid": np.array([position])}
        await archive.measurements.keep(batch, Source.FEATURES, {SPECTRO: column})


def energies() -> np.ndarray[Any, Any]:
    """About 1 J; one shot of 5 J, three of 0.1 J."""
    values = 1 + 0.01 * np.sin(np.arange(200.0))
    values[50], values[100:103] = 5, 0.1
    return values.astype(np.float32).astype(float)


def disagreements() -> np.ndarray[Any, Any]:
    values = np.full(200, 0.125)
    values[7] = 0.5
    return values


def spectrum_positions() -> np.ndarray[Any, Any]:
    """Every minute for an hour: 1000 px, then 1010."""
    noise = np.random.default_rng(3).normal(0, 0.5, 60)
    return 1000 + 10.0 * (np.arange(60) >= 30) + noise


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
            settled, place = Entry(state, "ingest", "why"), (ref.bucket, ref.key)
            await archive.ledger.settle_at(
                ref.object_id, settled, place, reason, ReadFacts(devices=1, records=7)
            )


async def raise_event(world: World, n: int, **more: Any) -> AnomalyEvent:
    """Shot n is anomalous, and an event reports it."""
    async with world.archive() as archive:
        return await store_event(archive, anomaly_event(n, 0, **more))


async def store_event(archive: Archive, event: AnomalyEvent) -> AnomalyEvent:
    """Store the event under the next number."""
    numbers = await archive.events.reserve([event.id])
    numbered = event.numbered(numbers[event.id])
    await archive.events.add([numbered])
    return numbered
