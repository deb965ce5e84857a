"""Searches of shots: how long they take, and how long one query holds the database.

    python -m tools.bench.queries SHOTS=1000000

The embedded database is filled with the shots of each place of facilities/hpls.yaml at its interval, without
a pause, back from one moment. The archive's own functions make and write the documents. Scores are those of
normal shots (-log₁₀ of a uniform number). One shot in 10,000 has an anomaly, one in 1,000 is incomplete. The
ledger gets one object for each place and minute.

Then each kind of search is sent to the REST API, newest shots first, in pages of 50, for the last day and for
ten years. Meanwhile another process pings the database every 5 ms. The interpreter of the embedded database
answers one request after the other, so the longest wait of a ping is the longest time that a query held it.
The CPU time is that of the database's process, for one search.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
from pymongo import MongoClient

from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_operations.api_keys import make_key
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.ledger import Entry
from shotwatch_shots.pulses import WINDOW_MS, window_id
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.shot import JudgedShot, ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind, ObjectState, Scope
from tools.bench.api import cpu_s

FACILITY = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
END = 1_760_000_400_000
"""2025-10-09 09:00 UTC: the end of the last minute with shots."""
KINDS = (AnomalyKind.POINTING, AnomalyKind.ENERGY, AnomalyKind.MISSING_MEMBER)
TURNS, PAGE = 20, 50
_PING_S = 0.005
NOT_NEEDED = {"SHOTWATCH_BROKER_URL": "amqp://nobody", "SHOTWATCH_MODELS_URL": "http://nobody"}
"""Servers that no search needs."""
Search = Mapping[str, str | int | float]
SEARCHES: Mapping[str, Search] = {
    "newest": {},
    "oldest": {"order": "oldest"},
    "place at 10 Hz": {"place": "LA-A1-11"},
    "place once a minute": {"place": "LA-A3-31"},
    "area": {"place": "LB-A1"},
    "interval": {"interval": "60s"},
    "kind": {"kind": "pointing"},
    "min_score 1.9": {"min_score": 1.9},
    "min_score 4": {"min_score": 4},
    "place and min_score 3": {"place": "LA-A1-11", "min_score": 3},
    "incomplete": {"complete": "false"},
    "kind that never occurs": {"kind": "wavelength"},
}


async def main(shots: int) -> None:
    facility = load_facility(FACILITY)
    with tempfile.TemporaryDirectory(prefix="shotwatch-bench-") as folder:
        secret, key = make_key("bench", frozenset(Scope), None)
        keys = Path(folder) / "keys"
        keys.write_text(f"{key.line()}\n")
        claimed = Stack.claim(Path(folder), "bench", facility=FACILITY, settings=NOT_NEEDED)
        async with claimed as stack:
            (query,) = (spec for spec in path_services() if spec.name == "query")
            limits = {"SHOTWATCH_QUERY_KEYS_FILE": str(keys), "SHOTWATCH_QUERY_REQUESTS_PER_SECOND": "10000"}
            stack.start_services([replace(query, environment={**query.environment, **limits})])
            await stack.services_ready()
            processes = {each.name: each for each in stack.status()}
            base = f"http://127.0.0.1:{processes['query-1'].ports['SHOTWATCH_QUERY_PORT']}/api/v1"
            database = stack.environment()["SHOTWATCH_DATABASE_URL"]
            async with (
                Archive.at(database, "shotwatch") as archive,
                httpx.AsyncClient(
                    base_url=base, headers={"Authorization": f"Bearer {secret}"}, timeout=300
                ) as client,
            ):
                await archive.ensure_indexes()
                started = time.monotonic()
                first = await fill(archive, facility.places, shots)
                took = time.monotonic() - started
                print(f"{shots:,} shots, {(END - first) / 3_600_000:.2f} h of the facility")
                print(f"written in {took:.0f} s, {written_mib(Path(folder)):.0f} MiB")
                print(f"load {os.getloadavg()[0]:.1f}")
                print("| search | found | p50 ms | p95 ms | CPU ms | longest hold ms |")
                print("| --- | ---: | ---: | ---: | ---: | ---: |")
                with pings(database) as longest_s:
                    bench = SearchBench(client, archive, processes["database"].pid or 0, longest_s)
                    await bench.run(max(first, END - DAY_MS))
                print(f"load {os.getloadavg()[0]:.1f}")


def written_mib(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.rglob("*.wt")) / 2**20


async def fill(archive: Archive, places: tuple[ExpectedDevices, ...], shots: int) -> int:
    """Write shots back from END, minute by minute, and return the time of the first minute."""
    facility = load_facility(FACILITY)
    random = np.random.default_rng(17)
    start, left = END, shots
    while left > 0:
        start -= WINDOW_MS
        for expected in places:
            period = facility.interval(expected.interval).period_ms
            pulses = range(start, start + WINDOW_MS, period)[: max(left, 0)]
            if not pulses:
                break
            await archive.shots.write(*judged(expected, pulses, random), None, "0" * 32)
            await enter(archive, expected, start)
            left -= len(pulses)
    return start


def judged(
    expected: ExpectedDevices, pulses: range, random: np.random.Generator
) -> tuple[ShotBatch, list[ShotVerdict]]:
    """Return a batch of shots, and their verdicts."""
    window = window_id(expected.series, pulses[0])
    batch = ShotBatch(
        batch_id=f"{window}-1",
        window_id=window,
        series=expected.series,
        pulses=list(pulses),
        revisions=[1] * len(pulses),
        complete=(random.random(len(pulses)) > 1e-3).tolist(),
        members=[],
        last_arrival=0,
    )
    scores, chances = -np.log10(random.random(len(pulses))), random.random(len(pulses))
    return batch, [
        ShotVerdict(float(score), 4.56, (KINDS[int(chance * 1e6) % len(KINDS)],) if chance < 1e-4 else ())
        for score, chance in zip(scores, chances, strict=True)
    ]


async def enter(archive: Archive, expected: ExpectedDevices, start: int) -> None:
    """Enter an object of a place and minute into the ledger."""
    name = f"{expected.series}-{start}"
    ref = ObjectRef(
        object_id=name, bucket="inbox", key=f"{name}.h5", etag="0", size=1_000_000, arrived_at=start + 61_000
    )
    await archive.ledger.enter(ref, "bench")
    await archive.ledger.settle(name, Entry(ObjectState.INGESTED, "bench"))


@dataclass(frozen=True, slots=True)
class SearchBench:
    """The searches, and what is measured of each."""

    client: httpx.AsyncClient
    archive: Archive
    database_pid: int
    longest_s: "Synchronized[float]"
    """The longest time that a ping took since the value was set to 0."""

    async def run(self, first: int) -> None:
        """Send each search, for the span since `first` (epoch ms) and for ten years."""
        for span, start in (("a day", first), ("ten years", END - 3650 * DAY_MS)):
            for name, search in SEARCHES.items():
                asked = {"from": start, "to": END, "limit": PAGE, **search}
                await self._report(f"GET shots, {span}: {name}", partial(self._page, "/shots", asked))
        day = {"from": END - DAY_MS, "to": END}
        await self._report("GET ledger, a day", partial(self._page, "/ledger", day))
        objects = {**day, "limit": PAGE}
        await self._report("GET ledger/objects, a day", partial(self._page, "/ledger/objects", objects))
        place = ShotFilter(area=load_facility(FACILITY).places[0].place)
        ten_minutes = partial(self._found, self.archive.shots.page, place, END - 600_000, END)
        await self._report("Shots.page of a place, 10 minutes", ten_minutes)
        spread = partial(self._found, self.archive.shots.spread, place, 1000)
        await self._report("Shots.spread, 1,000 of a place", spread)

    async def _page(self, path: str, asked: Search) -> int:
        answer = await self.client.get(path, params=asked)
        answer.raise_for_status()
        return len(answer.json().get(path.rpartition("/")[2], ()))

    async def _found(self, find: Callable[..., Awaitable[Sequence[JudgedShot]]], *arguments: object) -> int:
        return len(await find(*arguments))

    async def _report(self, name: str, search: Callable[[], Awaitable[int]]) -> None:
        """Send a search TURNS times, after once without timing, and print the figures."""
        await search()
        self.longest_s.value = 0
        took, spent = [], cpu_s(self.database_pid)
        for _ in range(TURNS):
            started = time.monotonic()
            found = await search()
            took.append(1000 * (time.monotonic() - started))
        cpu_ms = 1000 * (cpu_s(self.database_pid) - spent) / TURNS
        p50, p95 = np.percentile(took, [50, 95])
        longest = 1000 * self.longest_s.value
        print(f"| {name} | {found} | {p50:.0f} | {p95:.0f} | {cpu_ms:.0f} | {longest:.0f} |", flush=True)


@contextmanager
def pings(url: str) -> "Iterator[Synchronized[float]]":
    """Measure the longest time that a ping of the database takes, in s, from a process of its own."""
    context = get_context("spawn")
    longest_s, ready, ended = context.Value("d", 0.0), context.Event(), context.Event()
    process = context.Process(target=ping, args=(url, longest_s, ready, ended))
    process.start()
    ready.wait()
    yield longest_s
    ended.set()
    process.join()


def ping(url: str, longest_s: "Synchronized[float]", ready: Event, ended: Event) -> None:
    with MongoClient[dict[str, object]](url) as client:
        client.admin.command("ping")
        ready.set()
        while not ended.wait(_PING_S):
            started = time.monotonic()
            client.admin.command("ping")
            longest_s.value = max(longest_s.value, time.monotonic() - started)


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    asyncio.run(main(int(given.get("SHOTS", "100000"))))
