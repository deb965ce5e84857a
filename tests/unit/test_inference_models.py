"""The watches over the aliases, against a registry that speaks MLflow's REST API."""

import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tokenize import TokenError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import REGISTRY
from pydantic import SecretStr

from shotwatch_common.archive.audit import AuditLine
from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of
from shotwatch_common.registry import ModelRegistry
from shotwatch_detector.bundle import CAMERAS, MANIFEST, NETWORK, Bundle, Origin, save_bundle
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_inference.models import FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_REASON, ModelWatch
from shotwatch_inference.service import assemble
from shotwatch_shots.errors import Retry
from shotwatch_shots.event import ModelRef
from shotwatch_shots.features.spec import Side
from shotwatch_shots.models import Promotion
from shotwatch_shots.vocabulary import ChangeOutcome, ModelAlias


class Mirror:
    """An engine that reconstructs everything perfectly."""

    def __init__(self, network: bytes) -> None:
        if network != b"network":
            raise ValueError("no network")

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        return images


@dataclass
class Registry:
    """Bundles by version, and which of them is the champion, by its alias and by promotion."""

    folder: Path
    alias: str | None = None
    promoted: Promotion | None = None
    audited: tuple[str, str] | None = None
    """What was done to what by the audit; None for what was promoted."""
    pins: dict[str, str] = field(default_factory=dict)
    """Version → digest of its bundle when it was added."""
    named: tuple[str, ...] = ("champion",)
    """The aliases that the version has."""
    source: str = "mlflow-artifacts:/1/{version}/artifacts/bundle"
    made_by_a_run: bool = True
    downloads: list[str] = field(default_factory=list)
    overwrite: bytes = b""
    """What a network's file becomes once it was downloaded."""

    def add(self, version: str, network: bytes = b"network") -> None:
        folder = self.folder / version
        folder.mkdir()
        baselines = {"EM-1": {"energy": Baseline(2.0, 0.02, Tail(2.6, 0.876), Tail(1.0, 0.876), Side.BOTH)}}
        save_bundle(Bundle(Origin("HPLS", "strided", version, 0, 1, 2), network, {}, baselines), folder)
        self.pin(version)

    def pin(self, version: str) -> None:
        files = {name: (self.folder / version / name).read_bytes() for name in BUNDLE_FILES}
        self.pins[version] = digest_of(files)

    def promote(self, version: str | None) -> None:
        self.alias = version
        self.promoted = self.promotion(version)

    def promotion(self, version: str | None) -> Promotion:
        digest = self.pins.get(version, "0" * 64) if version else ""
        run_id = f"run-{version}"
        return Promotion(0, "amelie", None, version, "", run_id=run_id, digest=digest, audit_line="line")

    @property
    def archive(self) -> Any:
        return SimpleNamespace(promotions=self, audit=self)

    async def newest(self, _alias: ModelAlias, _most: int) -> list[Promotion]:
        return [self.promoted] if self.promoted else []

    async def sharing(self, _alias: ModelAlias, _line: str) -> int:
        return 1

    async def lines(self, ids: Collection[str]) -> dict[str, AuditLine]:
        expected = self.audited or (self.promoted and (self.promoted.operation, self.promoted.subject))
        line = AuditLine(0, "os:amelie", *(expected or ("", "")), ChangeOutcome.DONE, None, "")
        return {"line": line} if "line" in ids and expected else {}

    async def model(self, request: web.Request) -> web.Response:
        assert dict(request.query) == {"name": "shotwatch"}
        if not list(self.folder.iterdir()):
            return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)
        named = [{"alias": alias, "version": self.alias} for alias in self.named if self.alias]
        aliases = {"aliases": named} if named else {}
        return web.json_response({"registered_model": {"name": "shotwatch", **aliases}})

    async def version(self, request: web.Request) -> web.Response:
        number = request.query["version"]
        source = self.source.format(version=number)
        version = {"name": "shotwatch", "version": number, "source": source}
        if self.made_by_a_run:  # MLflow leaves out what is empty
            version["run_id"] = f"run-{number}"
        return web.json_response({"model_version": version})

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["version"] / request.match_info["file"]
        self.downloads.append(path.name)
        if not path.exists():
            raise web.HTTPNotFound
        content = path.read_bytes()
        if self.overwrite and path.name == NETWORK:
            path.write_bytes(self.overwrite)
        return web.Response(body=content)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[tuple[Registry, TestServer]]:
    registry = Registry(tmp_path)
    application = web.Application()
    application.router.add_get("/api/2.0/mlflow/registered-models/get", registry.model)
    application.router.add_get("/api/2.0/mlflow/model-versions/get", registry.version)
    application.router.add_get(
        "/api/2.0/mlflow-artifacts/artifacts/1/{version}/artifacts/bundle/{file}", registry.artifact
    )
    async with TestServer(application) as server:
        yield registry, server


@pytest.fixture
async def watch(
    registry: tuple[Registry, TestServer], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ModelWatch]:
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    log: Any = structlog.get_logger()
    async with ModelRegistry(str(registry[1].make_url("/")), "shotwatch") as client:
        yield ModelWatch(client, registry[0].archive, ModelAlias.CHAMPION, log)


def energy_anomalies(watch: ModelWatch) -> int:
    assert watch.current is not None
    features = {"EM-1": {"energy": np.array([2.0, 1.0])}}
    return len(watch.current.detector.judge("here", features, 2).findings)


async def test_before_any_model_has_the_alias_there_is_no_champion(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    await watch.poll()
    assert watch.current is None


async def test_the_version_with_the_alias_is_ready_to_judge(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("3")
    registry[0].promote("3")
    await watch.poll()
    assert watch.current is not None
    assert watch.current.ref == ModelRef(name="shotwatch", version="3", run_id="run-3")
    assert energy_anomalies(watch) == 1


async def test_a_version_is_fetched_once_and_without_what_only_training_needs(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("3")
    registry[0].promote("3")
    for _ in range(3):
        await watch.poll()
    assert sorted(registry[0].downloads) == sorted([MANIFEST, NETWORK, CAMERAS])


async def test_when_the_alias_moves_the_champion_changes_and_the_old_one_still_works(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].promote("1")
    await watch.poll()
    first = watch.current
    registry[0].promote("2")
    await watch.poll()
    assert watch.current is not None
    assert first is not None
    assert (first.ref.version, watch.current.ref.version) == ("1", "2")
    assert first.detector.judge("here", {}, 2).score.tolist() == [0, 0]


async def test_a_watch_has_no_model_once_the_alias_is_taken_away(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].promote("1")
    await watch.poll()
    registry[0].promote(None)
    await watch.poll()
    assert watch.current is None


@pytest.mark.parametrize(
    ("moved", "why"),
    [
        ("2", "the registry's champion is version 2, but version 1 was promoted"),
        (None, "the registry has no champion, but version 1 was promoted"),
    ],
)
async def test_an_alias_that_somebody_moved_changes_nothing_and_is_reported_until_it_is_put_back(
    moved: str | None, why: str, registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].promote("1")
    await watch.poll()
    registry[0].downloads.clear()
    registry[0].alias = moved
    for _ in range(3):
        await watch.poll()
    assert watch.report("here").loaded == "1"
    about = f"version {moved} cannot be loaded: " if moved else ""
    todo = "find out who moved the alias, then `shotwatch models promote 1` puts it back"
    assert watch.report("here").problem == f"champion: {about}{why} ({todo}); judging with version 1"
    assert not_loaded() == 1
    assert registry[0].downloads == []
    registry[0].alias = "1"
    await watch.poll()
    assert watch.report("here").problem == ""
    assert not_loaded() == 0


async def test_after_a_restart_a_moved_alias_leaves_the_rules(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].promote("1")
    registry[0].alias = "2"
    await watch.poll()
    assert watch.current is None
    assert watch.report("here").problem.endswith("; judging with rules only")
    registry[0].promote("2")
    await watch.poll()
    assert energy_anomalies(watch) == 1
    assert watch.report("here").problem == ""


@pytest.mark.parametrize("promoted", [None, "withdrawn"])
async def test_a_version_that_nobody_promoted_is_not_loaded(
    promoted: str | None, registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].promote(None)
    if promoted is None:
        registry[0].promoted = None
    registry[0].alias = "1"
    await watch.poll()
    assert watch.current is None
    assert registry[0].downloads == []
    problem = watch.report("here").problem
    who, what = problem.index("find out who gave it the alias"), problem.index("`shotwatch models promote 1`")
    assert who < what


@pytest.mark.parametrize("audited", [None, ("promote", "version 2, by amelie"), ("roll_back", "nothing")])
async def test_a_promotion_that_the_audit_does_not_show_is_not_loaded_and_is_reported(
    audited: tuple[str, str] | None, registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].promote("1")
    await watch.poll()
    registry[0].downloads.clear()
    registry[0].promote("2")
    registry[0].audited = audited
    if audited is None:
        registry[0].promoted = replace(registry[0].promotion("2"), audit_line="")
    for _ in range(3):
        await watch.poll()
    load = watch.report("here")
    assert (load.version, load.loaded) == ("2", "1")
    assert "version 2 was promoted at 1970-01-01 00:00:00 UTC by amelie" in load.problem
    assert "line of the audit" in load.problem
    assert not_loaded() == 1
    assert registry[0].downloads == []
    registry[0].audited = None
    registry[0].promote("2")
    await watch.poll()
    assert watch.report("here").problem == ""
    assert watch.report("here").loaded == "2"


async def test_a_withdrawal_that_the_audit_does_not_show_takes_nothing_away(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].promote("1")
    await watch.poll()
    registry[0].promote(None)
    registry[0].audited = ("promote", "version 1")
    await watch.poll()
    assert watch.report("here").loaded == "1"
    assert not_loaded() == 1


@pytest.mark.parametrize("file", BUNDLE_FILES)
async def test_a_bundle_that_was_changed_after_its_promotion_is_not_even_parsed(
    file: str,
    registry: tuple[Registry, TestServer],
    watch: ModelWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].promote("1")
    await watch.poll()
    with (registry[0].folder / "2" / file).open("ab") as changed:
        changed.write(b" ")
    registry[0].promote("2")
    parsed: list[Path] = []
    monkeypatch.setattr("shotwatch_inference.models.Detector.load", parsed.append)
    await watch.poll()
    assert parsed == []
    load = watch.report("here")
    assert (load.version, load.loaded) == ("2", "1")
    assert load.why_not.startswith("the bundle's digest ")
    assert "differs from the one promoted" in load.why_not


async def test_the_bytes_that_were_checked_are_the_bytes_that_are_loaded(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].promote("1")
    registry[0].overwrite = b"garbage"
    await watch.poll()
    assert (registry[0].folder / "1" / NETWORK).read_bytes() == b"garbage"
    assert energy_anomalies(watch) == 1


FAULTS = {
    "network": r"autoencoder\.tflite: no network",
    "no bundle": r"bundle\.json does not exist in mlflow-artifacts:/1/2/artifacts/bundle",
    "elsewhere": r"'s3://models/2' is not served",
    "outside": r"'mlflow-artifacts:/1/\.\./2' is not served",
    "manifest": r"bundle\.json: .*format",
    "cameras": r"cameras\.npz: ",
    "no array": r"cameras\.npz: reference is not an array",
    "too large": r"cameras\.npz in .* has more than 2000 bytes",
    "hostile words": r"\\x1b\[2J\\u202e",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_version_that_cannot_be_loaded_leaves_the_champion_in_place_and_is_reported(
    fault: str, registry: tuple[Registry, TestServer], watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry[0].add("1")
    registry[0].promote("1")
    await watch.poll()
    damage(registry[0], fault, monkeypatch)
    registry[0].promote("2")
    await watch.poll()
    assert watch.current is not None
    assert watch.current.ref.version == "1"
    load = watch.report("here")
    assert (load.version, load.loaded) == ("2", "1")
    assert re.search(FAULTS[fault], load.why_not)
    assert load.why_not.isprintable()
    assert len(load.why_not) <= LONGEST_REASON + 2
    assert load.problem == f"champion: version 2 cannot be loaded: {load.why_not}; judging with version 1"
    assert not_loaded() == 1


def damage(registry: Registry, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2, with this fault."""
    folder = registry.folder / "2"
    match fault:
        case "network":
            registry.add("2", network=b"garbage")
        case "elsewhere":
            registry.source = "s3://models/{version}"
        case "outside":
            registry.source = "mlflow-artifacts:/1/../{version}"
        case "hostile words":
            registry.source = "\x1b[2J\u202e" * 1000
        case "manifest":
            registry.add("2")
            (folder / MANIFEST).write_text('{"format": 2}')
            registry.pin("2")
        case "cameras":
            registry.add("2")
            (folder / CAMERAS).write_bytes((folder / CAMERAS).read_bytes()[:-40])
            registry.pin("2")
        case "no array":
            registry.add("2")
            replace_member(folder / CAMERAS, "reference.npy", bytes(200))
            registry.pin("2")
        case "too large":
            registry.add("2")
            (folder / CAMERAS).write_bytes(b" " * 3000)
            monkeypatch.setattr("shotwatch_common.registry.LARGEST_FILE", 2000)


def replace_member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, of_member in {**members, name: content}.items():
            archive.writestr(each, of_member)


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'bytes' object has no attribute 'dtype'"),
        KeyError("reference"),
        MemoryError(),
        OSError(28, "No space left on device"),
        TokenError("EOF in multi-line statement"),
        TypeError("ufunc 'greater' did not contain a loop"),
        ZeroDivisionError("division by zero"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_version_that_fails_in_an_unforeseen_way_is_reported_and_tried_again(
    error: Exception,
    registry: tuple[Registry, TestServer],
    watch: ModelWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_network: bytes) -> Mirror:
        raise error

    now = 1000.0
    monkeypatch.setattr("shotwatch_inference.models.monotonic", lambda: now)
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", fail)
    registry[0].add("1")
    registry[0].promote("1")
    await watch.poll()
    assert type(error).__name__ in watch.report("here").why_not
    assert not_loaded() == 1
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    await watch.poll()
    assert watch.current is None
    now += FIRST_PAUSE_S
    await watch.poll()
    assert energy_anomalies(watch) == 1


@pytest.mark.parametrize("fault", ["network", "no array", "manifest"])
async def test_inference_starts_with_rules_only_when_both_models_are_damaged(
    fault: str, registry: tuple[Registry, TestServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    damage(registry[0], fault, monkeypatch)
    registry[0].promote("2")
    registry[0].named = ("champion", "challenger")
    settings = SimpleNamespace(
        models_url=str(registry[1].make_url("/")),
        models_user="",
        models_password=SecretStr(""),
        model_name="shotwatch",
        health_port=0,
        false_alarms_per_hour=1.0,
    )
    archive, log = registry[0].archive, structlog.get_logger()
    context: Any = SimpleNamespace(settings=settings, log=log, archive=archive, facility=None)
    async with AsyncExitStack() as resources:
        service = await assemble(context, resources)
        for check in service.startup_checks:
            await check()
        facts = service.facts()
    assert facts["model"] == "none: only rules apply"
    assert re.search(FAULTS[fault], facts["champion_problem"])
    assert facts["champion_problem"].endswith("judging with rules only")
    assert re.search(FAULTS[fault], facts["challenger_problem"])
    assert facts["challenger_problem"].endswith("in shadow: none")


async def test_a_first_version_that_cannot_be_loaded_leaves_the_rules_and_is_reported(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1", network=b"garbage")
    registry[0].promote("1")
    await watch.poll()
    assert watch.current is None
    assert watch.report("here").problem.endswith("; judging with rules only")


async def test_a_version_is_tried_again_ever_later_and_heals_once_it_is_repaired(
    registry: tuple[Registry, TestServer], watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("shotwatch_inference.models.monotonic", lambda: now)
    registry[0].add("1")
    registry[0].promote("1")
    network = registry[0].folder / "1" / NETWORK
    network.write_bytes(b"garbage")
    tried = []
    for second in range(900):
        now = 1000.0 + second
        before = len(registry[0].downloads)
        await watch.poll()
        if len(registry[0].downloads) > before:
            tried.append(second)
    assert tried == [0, 5, 15, 35, 75, 155, 315, 615]
    network.write_bytes(b"network")
    await watch.poll()
    assert watch.current is None
    now += LONGEST_PAUSE_S
    await watch.poll()
    assert energy_anomalies(watch) == 1
    assert watch.report("here").problem == ""
    assert not_loaded() == 0


async def test_the_next_version_is_not_kept_waiting_by_one_that_cannot_be_loaded(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1", network=b"garbage")
    registry[0].add("2")
    for version in ("1", "2"):
        registry[0].promote(version)
        await watch.poll()
    assert watch.report("here").loaded == "2"
    assert watch.failure is None


async def test_an_alias_that_comes_back_to_the_loaded_version_ends_the_problem(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    for version in ("1", "2", "1"):
        registry[0].promote(version)
        await watch.poll()
    assert watch.report("here").problem == ""
    assert not_loaded() == 0
    assert registry[0].downloads.count(MANIFEST) == 2


async def test_an_alias_that_is_taken_away_ends_the_problem(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("2", None):
        registry[0].promote(version)
        await watch.poll()
    assert watch.report("here").problem == ""
    assert not_loaded() == 0


async def test_a_version_that_no_run_made_is_loaded(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].made_by_a_run = False
    registry[0].add("1")
    registry[0].promote("1")
    registry[0].promoted = replace(registry[0].promotion("1"), run_id="")
    await watch.poll()
    assert watch.current is not None
    assert watch.current.ref.run_id == ""


def not_loaded() -> float | None:
    return REGISTRY.get_sample_value("shotwatch_model_not_loaded", {"alias": "champion"})


async def test_a_registry_that_is_away_is_worth_another_try(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].promote("1")
    await watch.poll()
    await registry[1].close()
    with pytest.raises(Retry):
        await watch.poll()
    assert energy_anomalies(watch) == 1


def test_scoring_imports_nothing_that_only_training_needs() -> None:
    loaded = subprocess.run(  # in a fresh interpreter: other tests import TensorFlow
        [sys.executable, "-c", "import sys, shotwatch_inference.service; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"tensorflow", "keras", "mlflow"} & set(loaded)
