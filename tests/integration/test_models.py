"""The life of a model on a running stack: trained, challenged, compared, promoted and rolled back."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from mlflow import MlflowClient

from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.measurements import Source
from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.clock import epoch_now
from shotwatch_common.registry import ModelRegistry
from shotwatch_detector.bundle import load_bundle, save_bundle
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_embedded.description import find_stack
from shotwatch_operations.promotion import Promoter
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.models import Promotion
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate
from tests.unit.test_deploy_dashboards import asked

from .conftest import Running, until
from .panels import shows
from .prometheus import Prometheus
from .recorder import recording_as
from .test_cli import shotwatch

SERIES = ShotSeries.parse("LB-A2-00-1s")
START = datetime(2025, 8, 1, 8, tzinfo=UTC)
"""Later than what other tests record at the place: drift is sought in its newest data."""
LIVE = START + timedelta(minutes=3)
METER = "LB_A2-EM_1-EnergyMeter-1"
WHERE = ShotFilter(area=Place.parse("LB-A2-00"))
LEARNING = ("--from", START.isoformat(), "--to", LIVE.isoformat(), "--places", "LB-A2")


@pytest.fixture(scope="module", autouse=True)
def _logged_in(running: Running) -> Iterator[None]:
    """MLflow's client has the engineer's login."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_USERNAME", running.settings.models_user)
        environment.setenv("MLFLOW_TRACKING_PASSWORD", running.settings.models_password.get_secret_value())
        yield


@pytest.fixture(scope="module")
async def learned(running: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The version of a champion that learned from a training set of recorded shots.

    It is forgotten afterwards, so that others find a stack without a model.
    """
    await running.upload(*recorded(running, START, timedelta(minutes=3), tmp_path_factory.mktemp("learning")))
    await running.judged()
    made = await shotwatch(running, "dataset", "make", "learning", *LEARNING, "--normal", "--json")
    assert made.exit_code == 0, made.stderr
    fast = ("--epochs", "1", "--budget-seconds", "3")
    trained = await shotwatch(running, "train", *LEARNING, "--dataset", "learning", *fast, "--json")
    assert trained.exit_code == 0, trained.stderr
    assert trained.documents[0]["alias"] == ModelAlias.CHAMPION
    yield trained.documents[0]["version"]
    async with ModelRegistry.of(running.settings) as registry:
        for alias in ModelAlias:
            await Promoter(registry, running.archive).withdraw(alias, "tests", "the next tests have none")
    await loaded(running, "none: only rules apply", "none")


def recorded(
    running: Running, start: datetime, duration: timedelta, folder: Path, kinds: Sequence[Kind] = ()
) -> list[Path]:
    expected = running.facility.expected_devices(SERIES)
    assert expected is not None
    anomalous = plan_injections(running.facility, [expected], start, duration, kinds=kinds) if kinds else ()
    return list(
        simulate(Simulation(running.facility, (expected,), start, duration, injections=anomalous), folder)
    )


async def loaded(running: Running, champion: str, challenger: str) -> None:
    """Wait until every replica of inference reports that it has these versions."""
    ports = [s.port for s in running.stack.status() if s.name.startswith("inference")]
    assert len(ports) == 2

    async def all_have() -> bool:
        async with httpx.AsyncClient() as client:
            reported = [(await client.get(f"http://127.0.0.1:{port}/ready")).json() for port in ports]
        return all((each["model"], each["challenger"]) == (champion, challenger) for each in reported)

    await until(all_have, f"champion {champion} and challenger {challenger} loaded")


def register_stricter(running: Running, version: str, folder: Path) -> str:
    """A version whose thresholds are a fifth of another one's."""
    client, name = mlflow_of(running), running.settings.model_name
    run_id = client.get_model_version(name, version).run_id
    assert run_id is not None
    folder.mkdir()
    bundle = load_bundle(Path(client.download_artifacts(run_id, "bundle", str(folder))))
    stricter = folder / "stricter"
    stricter.mkdir()
    save_bundle(replace(bundle, baselines=shortened(bundle.baselines)), stricter)
    client.log_artifacts(run_id, str(stricter), "stricter")
    source = f"{client.get_run(run_id).info.artifact_uri}/stricter"
    made: str = client.create_model_version(name, source, run_id).version
    return made


def shortened(baselines: DeviceBaselines) -> DeviceBaselines:
    return {
        device: {
            name: replace(of, tail=replace(of.tail, reach=of.tail.reach / 5)) for name, of in features.items()
        }
        for device, features in baselines.items()
    }


async def keep_energies(running: Running, level: float) -> None:
    """Ten minutes of one energy meter alone, after everything that was recorded."""
    rng = np.random.default_rng(0)
    for minute in range(10):
        start = epoch_ms(LIVE) + 60_000 * (10 + minute)
        batch = ShotBatch(
            batch_id=f"drifting-{minute}",
            window_id=f"drifting-{minute}",
            series=SERIES,
            pulses=list(range(start, start + 60_000, 1000)),
            revisions=[1] * 60,
            complete=[True] * 60,
            members=[],
            last_arrival=0,
        )
        energy = level * rng.normal(1, 0.001, 60)
        await running.archive.measurements.keep(batch, Source.FEATURES, {METER: {"energy": energy}})
    await running.archive.devices.saw(METER, LastState(epoch_ms(LIVE) + 20 * 60_000, "ON"), epoch_now())


async def checked_for_drift(running: Running) -> bool:
    """Whether history has checked twice since the promotion: only later data are compared with the champion.

    The first of these checks may have begun before the promotion.
    """
    promotion, *_ = await running.archive.promotions.newest(ModelAlias.CHAMPION)
    files = (running.stack.folder / "traces").glob("history-*")
    lines = (line for path in files for line in path.open(encoding="utf-8") if '"check for drift"' in line)
    begun = [datetime.fromisoformat(json.loads(line)["start_time"]) for line in lines if line.endswith("\n")]
    return sum(epoch_ms(time) > promotion.at for time in begun) > 1


async def events_since(running: Running, start: datetime) -> list[AnomalyEvent]:
    shots = await running.archive.shots.page(WHERE, epoch_ms(start), epoch_ms(start) + 60_000, 0)
    return await running.archive.events.of_shots([shot.id for shot in shots])


async def audited_of(running: Running, version: str) -> list[str]:
    """What was done to a version by the audit, newest first."""
    changes = (await shotwatch(running, "audit", "--last", "1000", "--json")).documents
    return [each["what"] for each in changes if each["which"].startswith(f"version {version},")]


async def changed(running: Running, *arguments: str) -> Any:
    made = await shotwatch(running, "models", *arguments, "--who", "amelie", "--json")
    assert made.exit_code == 0, made.stderr
    return made.documents[0]


async def test_a_version_challenges_is_compared_promoted_and_rolled_back(
    running: Running, learned: str, tmp_path: Path
) -> None:
    await loaded(running, learned, "none")
    stricter = register_stricter(running, learned, tmp_path / "bundles")
    for untrusted in (("models", "compare", learned, stricter), ("benchmark", "--model", stricter)):
        refused = await shotwatch(running, *untrusted)
        assert refused.exit_code == 1
        assert "never promoted" in " ".join(refused.stderr.split())
    assert (await changed(running, "promote", stricter, "--alias", "challenger"))["before"] is None
    await loaded(running, learned, stricter)

    minute = timedelta(minutes=1)
    await running.upload(*recorded(running, LIVE, minute, tmp_path / "live", [Kind.ENERGY_DROP]))
    await running.judged()

    async def in_shadow() -> bool:
        return stricter in await running.archive.shadows.records([stricter])

    await until(in_shadow, "the challenger's scores kept")
    events = await events_since(running, LIVE)
    assert AnomalyKind.ENERGY in {event.data.kind for event in events}
    assert {event.data.model.version for event in events if event.data.model} == {learned}

    span = ("--from", LIVE.isoformat(), "--to", (LIVE + minute).isoformat(), "--places", "LB-A2")
    compared = await shotwatch(running, "models", "compare", learned, stricter, *span, "--json")
    assert compared.exit_code == 0, compared.stderr
    comparison = compared.documents[0]
    mild, strict = comparison["versions"]
    assert mild["shots"] == strict["shots"] == 60
    assert 0 < mild["anomalous"] < strict["anomalous"]
    assert [only["shots"] for only in comparison["only"]] == [0, strict["anomalous"] - mild["anomalous"]]
    assert (await running.archive.shadows.records([stricter]))[stricter].anomalous == strict["anomalous"]

    assert (await changed(running, "promote", stricter, "--why", "finds more"))["before"] == learned
    await loaded(running, stricter, "none")
    again = await shotwatch(
        running, "reprocess", *span[:4], "--stage", "inference", "--rate", "6000", "--json"
    )
    assert again.exit_code == 0, again.stderr
    shots = await running.archive.shots.page(WHERE, epoch_ms(LIVE), epoch_ms(LIVE + minute), 0)
    assert {(shot.revision, shot.model.version) for shot in shots} == {(2, stricter)}
    assert sum(bool(shot.verdict.kinds) for shot in shots) == strict["anomalous"]

    assert (await changed(running, "rollback", "--why", "too nervous"))["version"] == learned
    withdrawn = "withdraw_challenger"
    assert await audited_of(running, stricter) == [withdrawn, "promote", "introduce_challenger"]
    assert await audited_of(running, learned) == ["roll_back", "promote"]
    await loaded(running, learned, "none")

    listed = json.loads((await shotwatch(running, "models", "list", "--history", "--json")).stdout)
    assert listed["aliases"] == {"champion": learned}
    assert listed["versions"][0]["shadow"] == {"shots": 60, "anomalous": strict["anomalous"]}
    assert listed["versions"][0]["tags"]["promoted_by"] == "amelie"
    assert [(c["before"], c["version"], c["who"], c["why"]) for c in listed["promotions"]] == [
        (stricter, learned, "amelie", "too nervous"),
        (learned, stricter, "amelie", "finds more"),
        (None, learned, "shotwatch train", "trained"),
    ]
    people = await shotwatch(running, "models", "list", "--history", environment={"COLUMNS": "200"})
    assert all(word in people.stdout for word in ("champion", "rolled back: too nervous", "amelie"))


async def test_a_device_that_drifts_from_the_training_period_is_reported_and_shown(
    running: Running, prometheus: Prometheus, learned: str
) -> None:
    trained = await running.archive.measurements.series(METER, ["energy"], epoch_ms(START), epoch_ms(LIVE))
    await until(lambda: checked_for_drift(running), "two checks for drift from the champion")
    await keep_energies(running, 0.8 * float(np.nanmedian(trained.columns["energy"])))
    events: list[AnomalyEvent] = []

    async def announced() -> bool:
        found = await running.archive.events.numbered(0, await running.archive.events.last_number())
        events[:] = [stored.event for stored in found if stored.event.data.kind is AnomalyKind.DRIFT]
        return any(METER in event.data.devices for event in events)

    await until(announced, "the drift reported")
    await show(prometheus, ("Models", "Drift"), ("Models", "Furthest off now"))
    (event,) = [event for event in events if METER in event.data.devices]
    assert event.data.severity == "warning"
    stack = find_stack(running.stack.folder.parent, None)
    shown = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.query_urls[0], headers=shown) as client:
        report = (await client.get("/api/v1/models/drift")).json()
    assert report["version"] == learned
    (device,) = [each for each in report["devices"] if each["device"] == METER]
    (energy,) = device["features"]
    assert energy["shift"] < -4
    assert energy["beyond"] == 1


async def test_the_source_of_thresholds_and_the_rate_that_the_past_supports_are_shown(
    running: Running, learned: str
) -> None:
    stack = find_stack(running.stack.folder.parent, None)
    shown = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.query_urls[0], headers=shown) as client:
        report = (await client.get("/api/v1/models/thresholds")).json()
    assert report["version"] == learned
    assert report["places"]
    for place in report["places"]:
        assert place["fitted"] > 4
        assert (place["own"], place["since"], place["supported_per_hour"]) == ([], None, None)


async def test_a_champion_that_nobody_promoted_is_reported_everywhere_until_the_promoted_one_is_back(
    running: Running, learned: str
) -> None:
    await loaded(running, learned, "none")
    client = mlflow_of(running)
    name = running.settings.model_name
    version = client.get_model_version(name, learned)
    mine = client.create_model_version(name, version.source, version.run_id).version
    client.set_registered_model_alias(name, "champion", mine)
    problem = f"champion: version {mine} cannot be loaded: the registry's champion is version {mine}, but "
    problem += f"version {learned} was promoted (find out who moved the alias, then `shotwatch models "
    problem += f"promote {learned}` puts it back); judging with version {learned}"
    await until(lambda: reported(running, problem), "the problem reported by both replicas")

    status = await shotwatch(running, "status", "--json")
    assert status.documents[0]["model_problems"] == [f"{problem} (2 of 2 replicas)"]
    people = await shotwatch(running, "status", environment={"COLUMNS": "200"})
    assert f"version {mine} cannot be loaded" in people.stdout
    doctor = await shotwatch(running, "doctor", "--json")
    assert doctor.exit_code == 1
    (finding,) = [each for each in doctor.documents if each["subject"] == "champion model"]
    assert (finding["verdict"], finding["found"]) == ("fail", f"{problem} (2 of 2 replicas)")
    assert "models promote" in finding["advice"]
    listed = await shotwatch(running, "models", "list", environment={"COLUMNS": "200"})
    assert f"version {learned} was promoted" in " ".join(listed.stderr.split())

    assert (await changed(running, "promote", learned, "--why", "put back"))["version"] == learned
    await until(lambda: replicas_report(running, ""), "the problem over in both replicas")
    assert client.get_model_version_by_alias(name, "champion").version == learned


async def test_a_champion_past_the_audit_is_reported_everywhere_and_not_loaded(
    running: Running, learned: str
) -> None:
    await loaded(running, learned, "none")
    client = mlflow_of(running)
    name = running.settings.model_name
    version = client.get_model_version(name, learned)
    mine = client.create_model_version(name, version.source, version.run_id).version
    newest = await running.archive.promotions.current(ModelAlias.CHAMPION)
    assert newest is not None
    forged = replace(newest, at=epoch_now(), version=mine, before=learned, who="amelie")
    for line in ("", newest.audit_line):
        await running.archive.promotions.add(replace(forged, audit_line=line, at=forged.at + bool(line)))
    client.set_registered_model_alias(name, "champion", mine)
    await until(lambda: replicas_refuse(running, f"version {mine} was promoted"), "both replicas refuse it")
    await loaded(running, learned, "none")
    await until(lambda: watched(running, 2), "both named by history")

    async def in_status() -> bool:
        status = await shotwatch(running, "status", "--json")
        return sum("line of the audit" in each for each in status.documents[0]["model_problems"]) == 3

    await until(in_status, "the two promotions, and what the replicas refuse, in the status")
    doctor = await shotwatch(running, "doctor", "--json")
    findings = {each["subject"]: each for each in doctor.documents}
    assert findings["promotions"]["verdict"] == findings["champion model"]["verdict"] == "fail"
    assert "names no line of the audit" in findings["promotions"]["found"]
    assert "its line of the audit states: " in findings["promotions"]["found"]

    assert (await changed(running, "promote", learned, "--why", "put back"))["version"] == learned
    await until(lambda: replicas_report(running, ""), "the problem over in both replicas")
    await running.archive._database["promotions"].delete_many({"version": mine})
    await until(lambda: watched(running, 0), "nothing differs any more")


async def test_training_by_the_clock_makes_a_challenger_with_no_right_to_promote(
    running: Running, learned: str
) -> None:
    """What it asks of the database is held against its rights in test_rights.py."""
    await loaded(running, learned, "none")
    champions = await running.archive.promotions.newest(ModelAlias.CHAMPION)
    span = ("--from", START.isoformat(), "--to", LIVE.isoformat(), "--places", "LB-A2-00")
    arguments = (*span, "--dataset=learning", "--epochs=1", "--budget-seconds=3")
    environment = {**os.environ, **running.stack.environment(), **recording_as("training")}
    command = (sys.executable, "-m", "shotwatch_training", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    made = json.loads(stdout.splitlines()[-1])["version"]
    await loaded(running, learned, made)
    assert await running.archive.promotions.newest(ModelAlias.CHAMPION) == champions
    async with ModelRegistry.of(running.settings) as registry:
        await Promoter(registry, running.archive).withdraw(ModelAlias.CHALLENGER, "tests", "")
    await loaded(running, learned, "none")


async def test_a_champion_without_its_bundle_is_reported_and_heals_without_a_restart(
    running: Running, learned: str, tmp_path: Path
) -> None:
    await loaded(running, learned, "none")
    client = mlflow_of(running)
    name = running.settings.model_name
    run_id = str(client.get_model_version(name, learned).run_id)
    bundle = Path(client.download_artifacts(run_id, "bundle", str(tmp_path)))
    source = f"{client.get_run(run_id).info.artifact_uri}/repaired"
    broken = client.create_model_version(name, source, run_id).version
    refused = await shotwatch(running, "models", "promote", broken, "--who", "amelie")
    assert refused.exit_code == 1
    assert "bundle.json does not exist" in " ".join(refused.stderr.split())

    digest = digest_of({file: (bundle / file).read_bytes() for file in BUNDLE_FILES})
    promotion = Promotion(epoch_now(), "tests", learned, broken, "", run_id=run_id, digest=digest)
    line = await running.archive.audit.note(promotion.operation, promotion.subject)
    await running.archive.promotions.add(replace(promotion, audit_line=line))
    client.set_registered_model_alias(name, "champion", broken)
    problem = f"champion: version {broken} cannot be loaded: bundle.json does not exist in {source}; "
    problem += f"judging with version {learned}"
    await until(lambda: replicas_report(running, problem), "the problem reported by both replicas")

    client.log_artifacts(run_id, str(bundle), "repaired")
    await loaded(running, broken, "none")
    await until(lambda: replicas_report(running, ""), "the problem over in both replicas")
    assert (await changed(running, "rollback"))["version"] == learned
    await loaded(running, learned, "none")


def test_services_that_ask_for_models_have_the_login_of_a_reader_and_others_none(running: Running) -> None:
    """/proc shows the environment of the process that services were forked from, without any login."""
    engineers = running.settings.models_password.get_secret_value()
    launched = {name: each._launch.environment for name, each in running.stack._services.items()}
    assert not [name for name, environment in launched.items() if engineers in environment.values()]
    logins = {
        name: env["SHOTWATCH_MODELS_USER"]
        for name, env in launched.items()
        if "SHOTWATCH_MODELS_PASSWORD" in env
    }
    assert set(logins.values()) == {"reader"}
    assert {name.rpartition("-")[0] for name in logins} == {"inference", "history", "query"}
    services = [each for each in running.stack.status() if each.name in launched]
    shown = b"".join(Path(f"/proc/{each.pid}/environ").read_bytes() for each in services)
    assert engineers.encode() not in shown


def mlflow_of(running: Running) -> MlflowClient:
    return MlflowClient(running.settings.models_url, running.settings.models_url)


async def reported(running: Running, problem: str) -> bool:
    """Whether every replica reports it of the champion: on /ready, as a metric, and by the REST API."""
    stack = find_stack(running.stack.folder.parent, None)
    if not await replicas_report(running, problem):
        return False
    shown = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(headers=shown) as client:
        loads = (await client.get(f"{stack.query_urls[0]}/api/v1/models")).json()["loads"]
    of_champion = [load["problem"] for load in loads if load["alias"] == ModelAlias.CHAMPION]
    return of_champion == [problem, problem]


async def replicas_refuse(running: Running, problem: str) -> bool:
    """Whether every replica reports on /ready that this is the problem of the champion."""
    ports = [s.port for s in running.stack.status() if s.name.startswith("inference")]
    async with httpx.AsyncClient() as client:
        ready = [(await client.get(f"http://127.0.0.1:{port}/ready")).json() for port in ports]
    return all(problem in each.get("champion_problem", "") for each in ready)


async def watched(running: Running, differences: int) -> bool:
    """Whether history has counted so many differences between promotions and audit."""
    (port,) = [s.port for s in running.stack.status() if s.name.startswith("history")]
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    return f"shotwatch_promotion_differences {float(differences)}" in metrics


async def replicas_report(running: Running, problem: str) -> bool:
    """Whether every replica reports it of the champion, on /ready and as a metric."""
    async with httpx.AsyncClient() as client:
        for port in [s.port for s in running.stack.status() if s.name.startswith("inference")]:
            ready = await client.get(f"http://127.0.0.1:{port}/ready")
            metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            assert ready.status_code == 200
            if ready.json().get("champion_problem", "") != problem:
                return False
            if f'shotwatch_model_not_loaded{{alias="champion"}} {float(bool(problem))}' not in metrics:
                return False
    return True


async def test_dashboards_show_the_model_at_work(
    running: Running, prometheus: Prometheus, learned: str, tmp_path: Path
) -> None:
    await loaded(running, learned, "none")
    await running.upload(*recorded(running, LIVE + timedelta(hours=1), timedelta(seconds=5), tmp_path))
    await running.judged()
    await show(prometheus, ("Models", "Versions"), ("Models", "Loaded"), ("Beam", "Score"))


async def show(prometheus: Prometheus, *panels: tuple[str, str]) -> None:
    """Wait until these panels of dashboards have data of the place."""
    questions = [each for each in asked() if (each.dashboard, each.panel) in panels]
    assert len(questions) >= len(panels)
    for each in questions:
        await shows(prometheus, each, {"place": "LB-A2-00"})
