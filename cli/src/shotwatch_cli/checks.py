"""The checks of `doctor`: each one reports what it found and, where something is wrong, what to do."""

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from time import time

import httpx

from shotwatch_cli.answers import Answer
from shotwatch_cli.broker import connected
from shotwatch_cli.deployment import Deployment
from shotwatch_cli.failures import AWAY, Failure, as_failure
from shotwatch_cli.models import load_problems
from shotwatch_cli.queues import StageQueues, stage_queues
from shotwatch_common import rights
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import STAGES
from shotwatch_embedded.install import is_installed
from shotwatch_shots.facility import FacilityError
from shotwatch_shots.vocabulary import ModelAlias

_GIGABYTE = 1e9
_MEMORY_GB = 5
_DISK_GB = 10
_SKEW_S = 2.0
_HALF_OF_A_DATE_S = 0.5
"""HTTP dates are in whole seconds; the true time is half a second later on average."""
_ADVICE = "`shotwatch status` shows its state and its log"
_LOAD = (
    "if an alias was moved in the registry, find out first who did it; then `shotwatch models promote` or "
    "`rollback` to a version that can be loaded, which also puts the alias back, or restore its bundle in "
    "the registry: it is tried again by itself"
)
_PROVE = (
    "find out who wrote them: `shotwatch audit` and `shotwatch models list --history` show both sides; if a "
    "promotion was interrupted, making it again finishes it"
)
_MAKE_BUCKET = "`shotwatch bucket setup` makes it"
_DECLARED = (
    "`python -m shotwatch_operations.broker` declares it, as the account `setup`; so does `shotwatch up`"
)


class CheckStatus(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the doctor's report."""

    subject: str
    verdict: CheckStatus
    found: str
    advice: str = ""


def machine_findings(folder: Path) -> Iterator[CheckResult]:
    """Check whether this machine can run the embedded stack, with its data in the folder."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield _found("python", sys.version_info[:2] == (3, 11), version, "use Python 3.11")
    yield _found(
        "rabbitmq-server",
        is_installed(),
        "installed" if is_installed() else "not installed",
        "apt-get install rabbitmq-server, or set SHOTWATCH_BROKER_URL to a broker that you have",
    )
    disk = shutil.disk_usage(_existing(folder)).free / _GIGABYTE
    yield _found(
        "disk", disk >= _DISK_GB, f"{disk:.0f} GB free", f"make room: {_DISK_GB} GB", CheckStatus.WARN
    )
    memory = _available_memory() / _GIGABYTE
    advice = f"the whole stack wants {_MEMORY_GB} GB"
    yield _found("memory", memory >= _MEMORY_GB, f"{memory:.1f} GB available", advice, CheckStatus.WARN)


async def deployment_findings(deployment: Deployment) -> AsyncIterator[CheckResult]:
    """Check whether the servers answer and hold what the services need."""
    checks = {
        "facility": _facility,
        "broker": _broker,
        "database": _database,
        "store": _store,
        "models": _models,
        "REST API": _rest_api,
    }
    for subject, check in checks.items():
        try:
            async for finding in check(deployment):
                yield finding
        except (Failure, FacilityError, *AWAY) as error:
            yield CheckResult(subject, CheckStatus.FAIL, str(as_failure(error)), _ADVICE)


async def _facility(deployment: Deployment) -> AsyncIterator[CheckResult]:
    facility = load_facility(deployment.settings.facility)
    yield CheckResult("facility", CheckStatus.OK, f"{facility.name}, {len(facility.places)} places")


async def _broker(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with connected(deployment.broker_url) as connection:
        yield CheckResult("broker", CheckStatus.OK, "answers")
        missing = await deployment.topology.missing(connection)
        found = f"missing: {', '.join(missing)}" if missing else "all exchanges and queues are there"
        yield _found("topology", not missing, found, _DECLARED)
        for stage in STAGES:
            yield stage_finding(await stage_queues(connection, stage, deployment.topology))


def stage_finding(queues: StageQueues) -> CheckResult:
    """Check whether a stage's queue has a consumer, and no message is dead-lettered."""
    subject = f"stage {queues.stage}"
    if queues.missing:
        return CheckResult(subject, CheckStatus.FAIL, f"no queue {', '.join(queues.missing)}", _DECLARED)
    if not queues.consumers:
        return CheckResult(subject, CheckStatus.FAIL, f"nobody consumes, {queues.ready} wait", _ADVICE)
    if queues.dead_lettered:
        advice = f"`shotwatch dead list --stage {queues.stage}` shows why"
        return CheckResult(
            subject, CheckStatus.WARN, f"{queues.dead_lettered} messages are dead-lettered", advice
        )
    return CheckResult(subject, CheckStatus.OK, f"{queues.consumers} consumers, {queues.ready} wait")


async def _database(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with Archive.of(deployment.settings) as archive:
        answers = await archive.ready()
        yield _found("database", answers, "answers" if answers else "does not answer", _ADVICE)
        missing = await archive.missing_indexes(rights.DATABASE["engineer"]) if answers else []
    if answers:
        found = f"missing: {'; '.join(missing)}" if missing else "there"
        yield _found("indexes", not missing, found, "`python -m shotwatch_operations.database` makes them")


async def _store(deployment: Deployment) -> AsyncIterator[CheckResult]:
    settings = deployment.settings
    async with ObjectStore.of(settings) as store:
        for bucket in settings.buckets:
            there = await store.has_bucket(bucket)
            yield _found(f"bucket {bucket}", there, "there" if there else "missing", _MAKE_BUCKET)
    yield await _clock("store", settings.store_url)


async def _clock(server: str, url: str) -> CheckResult:
    """Compare a server's clock with the clock of this machine.

    The store's clock gives the time at which an object arrived, the API's the time at which a shot was
    judged.
    """
    answer = await _get(url)
    skew = parsedate_to_datetime(answer.headers["Date"]).timestamp() + _HALF_OF_A_DATE_S - time()
    advice = "let both machines follow the same time server (NTP)"
    return _found(
        f"clock of the {server}", abs(skew) < _SKEW_S, f"{skew:+.1f} s from ours", advice, CheckStatus.WARN
    )


async def _models(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with ModelRegistry.of(deployment.settings) as registry:
        await registry.alive()
    yield CheckResult("models", CheckStatus.OK, "answers")


async def _rest_api(deployment: Deployment) -> AsyncIterator[CheckResult]:
    async with deployment.api() as api:
        health, model = await api.get("/health"), await api.get("/models")
    yield _found("REST API", health["status"] == "ok", health["status"], _ADVICE)
    for finding in model_findings(model):
        yield finding
    yield await _clock("REST API", f"{deployment.api_url}/docs")


def model_findings(model: Answer) -> Iterator[CheckResult]:
    """Check that there is a champion, that inference loads it and the challenger, and that the audit agrees.

    Args:
        model: as the REST API reports it.
    """
    version = model["aliases"].get(ModelAlias.CHAMPION)
    if problems := load_problems(model, ModelAlias.CHAMPION):
        yield CheckResult("champion model", CheckStatus.FAIL, "; ".join(problems), _LOAD)
    else:
        found = f"version {version}" if version else "none: only rules judge"
        yield _found("champion model", bool(version), found, "`shotwatch train` makes one", CheckStatus.WARN)
    if problems := load_problems(model, ModelAlias.CHALLENGER):
        yield CheckResult("challenger model", CheckStatus.WARN, "; ".join(problems), _LOAD)
    if differing := model["promotion_differences"]:
        yield CheckResult("promotions", CheckStatus.FAIL, "; ".join(differing), _PROVE)


async def _get(url: str) -> httpx.Response:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            return await client.get(url)
    except httpx.HTTPError as error:
        raise Failure(f"{url} does not answer: {error!r}") from error


def _found(
    subject: str, well: bool, found: str, advice: str, otherwise: CheckStatus = CheckStatus.FAIL
) -> CheckResult:
    return (
        CheckResult(subject, CheckStatus.OK, found)
        if well
        else CheckResult(subject, otherwise, found, advice)
    )


def _available_memory() -> int:
    """Return how many bytes a new program can allocate without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
