"""The REST API under load: cost of a request, delay of an event on the stream, memory for large responses.

    python -m tools.bench.api

The API runs in a process of its own on an embedded database and store. `GET /shots` is requested in turn by
one client and by eight at once, which gives the requests per second and the CPU time of the API's process for
each case. The delay of the stream runs from the storing of an event to its arrival at the client. The memory
is the peak resident set of the process (VmHWM in /proc) before and after four simultaneous `GET …/series`,
each of 10⁶ values in JSON. A request that the API refuses with 429 or 503 is sent again. Meanwhile a second
client, in a process of its own, requests `GET /caller` repeatedly: its waiting times show how large responses
delay other users.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import httpx
import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_common.archive.measurements import Source
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_operations.api_keys import make_key
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import ShotVerdict
from shotwatch_shots.vocabulary import Scope
from tests.integration.query_world import anomaly_event, store_event

FACILITY = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
PLACE = ShotSeries.parse("LA-A1-11-100ms")
METER = "LA_A1_11-EM_1-EnergyMeter-1"
START = 1_656_660_780_000
SHOTS, VALUES, BATCHES = 600, 1_000_000, 4
REQUESTS, EVENTS, HEAVY = 400, 30, 4
WATCHED_S = 8


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        secret, key = make_key("bench", frozenset(Scope), None)
        keys = Path(folder) / "keys"
        keys.write_text(f"{key.line()}\n")
        claimed = Stack.claim(
            Path(folder), "bench", facility=FACILITY, settings={"SHOTWATCH_BROKER_URL": "amqp://nobody"}
        )
        async with claimed as stack:
            (query,) = (spec for spec in path_services() if spec.name == "query")
            environment = {**query.environment, "SHOTWATCH_QUERY_KEYS_FILE": str(keys)}
            stack.start_services([replace(query, environment=environment)])
            await stack.services_ready()
            (process,) = (each for each in stack.status() if each.name == "query-1")
            base = f"http://127.0.0.1:{process.ports['SHOTWATCH_QUERY_PORT']}/api/v1"
            headers = {"Authorization": f"Bearer {secret}"}
            async with (
                Archive.at(stack.environment()["SHOTWATCH_DATABASE_URL"], "shotwatch") as archive,
                httpx.AsyncClient(base_url=base, headers=headers, timeout=300) as client,
            ):
                await fill(archive)
                await measure(client, archive, process.pid or 0)


async def fill(archive: Archive) -> None:
    await archive.ensure_indexes()
    shots = closed("shots", [START + 100 * n for n in range(SHOTS)])
    await archive.batches.add(shots)
    await archive.shots.write(shots, [ShotVerdict(1.0, 5.0)] * SHOTS, None, "0" * 32)
    for pulses in np.array_split(START + 100 * np.arange(VALUES), BATCHES):
        batch = closed(f"batch-{pulses[0]}", pulses.tolist())
        energies = np.random.default_rng(0).normal(1, 0.1, len(pulses))
        await archive.measurements.keep(batch, Source.FEATURES, {METER: {"energy": energies}})


def closed(name: str, pulses: list[int]) -> ShotBatch:
    return ShotBatch(
        batch_id=name,
        window_id=name,
        series=PLACE,
        pulses=pulses,
        revisions=[1] * len(pulses),
        complete=[True] * len(pulses),
        members=[],
        last_arrival=0,
    )


async def measure(client: httpx.AsyncClient, archive: Archive, pid: int) -> None:
    for clients in (1, 8, 1, 8, 1, 8):
        spent = cpu_s(pid)
        per_second = await rate(client, clients)
        each_ms = 1000 * (cpu_s(pid) - spent) / REQUESTS
        print(f"GET /shots, {clients} at once: {per_second:6.1f} a second, {each_ms:.2f} ms of CPU each")
    delays = [delay async for delay in stream_delays(client, archive)]
    print(f"stream: {1000 * median(delays):.0f} ms from storing to arrival, median of {EVENTS}")
    before, started = peak_mib(pid), time.monotonic()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        waits = pool.submit(waited_meanwhile, str(client.base_url), dict(client.headers), WATCHED_S)
        answers = await asyncio.gather(*(series(client) for _ in range(HEAVY)))
        took = time.monotonic() - started
        waited: list[float] = await asyncio.wrap_future(waits)
    longest_first = sorted(waited, reverse=True)
    print(f"{HEAVY} series of {VALUES:,}: peak {before:.0f} → {peak_mib(pid):.0f} MiB, {took:.1f} s")
    print(f"  refused before they were answered: {[refused for refused, _ in answers]}")
    print(f"  bytes: {[size for _, size in answers]}")
    longest = ", ".join(f"{1000 * wait:.0f}" for wait in longest_first[:5])
    print(f"  others waited {1000 * median(longest_first):.0f} ms in the median, the longest {longest} ms")


async def rate(client: httpx.AsyncClient, clients: int) -> float:
    async def ask() -> None:
        for _ in range(REQUESTS // clients):
            search = {"from": START, "to": START + 60_000, "limit": 10}
            (await client.get("/shots", params=search)).raise_for_status()

    started = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(clients)))
    return REQUESTS / (time.monotonic() - started)


async def stream_delays(client: httpx.AsyncClient, archive: Archive) -> AsyncIterator[float]:
    async with client.stream("GET", "/events/stream") as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        for n in range(EVENTS):
            await store_event(archive, anomaly_event(n, 0))
            stored = time.monotonic()
            async for line in lines:
                if line.startswith("data:") and "sequence" in json.loads(line.removeprefix("data:"))["data"]:
                    break
            yield time.monotonic() - stored


async def series(client: httpx.AsyncClient) -> tuple[int, int]:
    """Return how often the request was refused, and the size of the response in bytes."""
    refused = 0
    span: dict[str, int | str] = {"from": START, "to": START + 100 * VALUES, "feature": "energy"}
    while (answer := await client.get(f"/devices/{METER}/series", params=span)).status_code in (429, 503):
        refused += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    answer.raise_for_status()
    return refused, len(answer.content)


def waited_meanwhile(base: str, headers: dict[str, str], seconds: float) -> list[float]:
    """Return how long (s) each of many small requests took, sent one after another."""
    waits, ends = [], time.monotonic() + seconds
    with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
        while (asked := time.monotonic()) < ends:
            client.get("caller").raise_for_status()
            waits.append(time.monotonic() - asked)
            time.sleep(0.01)
    return waits


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / 1024


if __name__ == "__main__":
    asyncio.run(main())
