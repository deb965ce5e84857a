"""Mutants of snapshot files on a running stack: each ends with a reason, and harms no other file.

`make fuzz-stack MUTANTS=10000` starts the embedded stack and stores mutants in its inbox, a flight at a time.
Good files follow each flight; the next flight waits until their shots are judged. A finding names its seeds.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from statistics import median
from time import monotonic

import pytest

from shotwatch_cli.balance import reconciling, take_balance
from shotwatch_cli.deployment import settings_of
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import Role
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import FileReason, ObjectState
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import admit_tester, as_tester
from tests.facilities import facility_waiting
from tests.installing import alone
from tests.integration.conftest import FOREVER_MS, LATENESS_S, Running
from tests.integration.test_cases import state
from tests.integration.waiting import until

from .mutants import mutant

MUTANTS = int(os.environ.get("MUTANTS", "300"))
FLIGHT = 10
DAYS = 10
"""The mutants are of one minute of so many days, so that many of them meet in a window."""
SAME_MINUTE_EVERY = 10
"""In one flight of so many, there are good files of the mutants' own place and minute, too."""
OTHER_PLACE, SAME_PLACE = ShotSeries.parse("LB-FSD-00-1s"), ShotSeries.parse("LA-A1-11-100ms")
MUTANTS_MINUTE = datetime(2022, 7, 1, 7, 33, tzinfo=UTC)
QUIET_MINUTE = datetime(2022, 9, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MAX_SERVICE_BYTES = 1 << 30
"""Maximum memory of a service, without its readers, which may take 2 GiB each."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A stack with one replica of each service."""
    with alone():
        ensure_rabbitmq(install=True)
    root = tmp_path_factory.mktemp("fuzzed")
    facility = facility_waiting(LATENESS_S, root)
    claimed = Stack.claim(root, "fuzzed", facility=facility, settings={})
    admit_tester(claimed.folder / "broker")
    async with claimed as stack:
        stack.start_services(path_services())
        await stack.services_ready()
        variables = stack.environment()
        address = as_tester(variables["SHOTWATCH_BROKER_URL"])
        settings = settings_of(variables | {"SHOTWATCH_BROKER_URL": address})
        async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
            yield Running(stack, settings, load_facility(facility), store, archive)


@pytest.mark.fuzz
@pytest.mark.timeout(6 * 3600)
async def test_mutants_on_a_running_stack_harm_only_themselves(running: Running, tmp_path: Path) -> None:
    await good_shots_are_judged(running, SAME_PLACE, MUTANTS_MINUTE + MINUTE / 4, tmp_path)
    undisturbed = [await good_shots_are_judged(running, OTHER_PLACE, quiet(n), tmp_path) for n in range(3)]
    before, used_before = await state(running), usage(running)["ingest"].cpu_s
    first, keys, waits = SystemRandom().randrange(1 << 60), list[str](), list[float]()
    for n, flight in enumerate(flights(first)):
        keys += [await upload(running, seed) for seed in flight]
        waits.append(await good_shots_are_judged(running, OTHER_PLACE, quiet(3 + n), tmp_path))
        print(f"{len(keys)} of {MUTANTS} mutants; good shots behind them after {waits[-1]:.1f} s", flush=True)
        if n % SAME_MINUTE_EVERY == 0:
            same = MUTANTS_MINUTE + n // SAME_MINUTE_EVERY % DAYS * DAY + MINUTE / 2
            await good_shots_are_judged(running, SAME_PLACE, same, tmp_path)
        assert await state(running) == before, f"restarts or dead letters after {flight}"
    await until(running._at_rest, "everything settled and judged", 600)
    outcomes = await outcomes_of(running, keys)
    await the_ledger_adds_up(running)
    used = usage(running)
    cpu_s = (used["ingest"].cpu_s - used_before) / MUTANTS
    print(f"{MUTANTS} mutants from seed {first}: {dict(outcomes)}")
    print(f"good shots judged after {spread(undisturbed)}, behind a flight after {spread(waits)}")
    print(f"ingest and its readers: {cpu_s:.2f} CPU s a mutant, good files included")
    print("largest memory, MiB:", {name: each.peak_bytes >> 20 for name, each in used.items()})
    assert {name: each.peak_bytes for name, each in used.items() if each.peak_bytes > MAX_SERVICE_BYTES} == {}


def flights(first: int) -> Iterator[range]:
    """Yield the seeds of each flight."""
    end = first + MUTANTS
    return (range(start, min(start + FLIGHT, end)) for start in range(first, end, FLIGHT))


def quiet(n: int) -> datetime:
    """Return a minute that no mutant is of."""
    return QUIET_MINUTE + n * MINUTE


async def upload(running: Running, seed: int) -> str:
    """Store the mutant of a seed in the inbox, under a key of its own; return the key."""
    made = mutant(seed)
    day = MUTANTS_MINUTE + seed % DAYS * DAY
    key = f"{seed}/{made.key.replace('2022-07-01', f'{day:%Y-%m-%d}')}"
    await running.store.put(running.settings.inbox_bucket, key, made.image)
    return key


async def good_shots_are_judged(running: Running, series: ShotSeries, start: datetime, folder: Path) -> float:
    """Upload two shots of a place, and wait until both are judged, complete; return how long it took (s)."""
    expected = running.facility.expected_devices(series)
    assert expected is not None
    period = running.facility.interval(series.interval).period_ms
    good = Simulation(running.facility, (expected,), start, timedelta(milliseconds=2 * period), 1)
    files = list(simulate(good, folder / f"{series}-{start:%Y-%m-%dT%H%M%S}"))
    began, begin = monotonic(), epoch_ms(start) - period // 2
    await running.upload(*files)

    async def both_complete() -> bool:
        place = ShotFilter(area=series.place)
        shots = await running.archive.shots.page(place, begin, begin + 2 * period, 0)
        return [shot.complete for shot in shots] == [True, True]

    await until(both_complete, f"complete shots of {series} at {start}")
    return monotonic() - began


async def outcomes_of(running: Running, keys: list[str]) -> Counter[str]:
    """Return how many mutants were read, or rejected for each reason; each of them was one or the other."""
    outcomes = Counter[str]()
    for n in range(0, len(keys), 100):
        entries = await running.archive.ledger.newest(keys[n : n + 100])
        assert {entry.ref.key for entry in entries} == set(keys[n : n + 100])
        for entry in entries:
            assert entry.state in (ObjectState.INGESTED, ObjectState.REJECTED), entry
            assert entry.detail.isprintable()
            outcomes["read" if entry.state is ObjectState.INGESTED else FileReason(entry.reason)] += 1
    return outcomes


async def the_ledger_adds_up(running: Running) -> None:
    async with reconciling(running.archive, running.store, running.settings) as reconciler:
        balance = await take_balance(running.archive, reconciler, 0, FOREVER_MS, recheck=True)
    assert balance.adds_up, list(balance.problems)[:10]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service has used."""

    cpu_s: float
    """CPU time of all its processes, those that have ended among them."""
    peak_bytes: int
    """The largest memory of its first process."""


def usage(running: Running) -> dict[str, Usage]:
    """Return what each service has used, from /proc; the processes of a service are a process group."""
    ticks = Counter[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            ended = int(folder.name) == int(fields[2])  # the leader counts its children that have ended
            ticks[int(fields[2])] += sum(map(int, fields[11 : 15 if ended else 13]))
    services = {each.name: each.pid for each in running.stack.status() if each.role is Role.SERVICE}
    return {
        name.rpartition("-")[0]: Usage(ticks[pid] / TICKS_PER_S, peak_bytes(pid))
        for name, pid in services.items()
        if pid is not None
    }


def peak_bytes(pid: int) -> int:
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in each]
    return int(line.split()[1]) << 10


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} s (median), {max(seconds):.1f} s (longest)"
