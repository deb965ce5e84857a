"""A MongoDB-wire server under the archive's own operations: milliseconds by the clock, and CPU of the server.

    python -m tools.bench.databases URL PID

URL is that of a running server, PID its process. Shots of HPLS are written in batches of up to 600, with
their counts. Then objects go through the ledger, one after the other, and shots are searched.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.place import Place
from shotwatch_shots.shot import ShotFilter
from tools.bench.api import cpu_s
from tools.bench.queries import END, FACILITY, enter, fill

SHOTS, OBJECTS, TURNS = 10_000, 200, 10
PLACE = ShotFilter(area=Place.parse("LA-A1-11"))


async def main(url: str, pid: int) -> None:
    facility = load_facility(FACILITY)
    print(f"load {os.getloadavg()[0]:.1f}")
    print("| operation | ms | CPU ms |")
    print("| --- | ---: | ---: |")
    async with Archive.at(url, "shotwatch") as archive:
        await measure("all indexes", archive.ensure_indexes, pid, 1)
        written = partial(fill, archive, facility.places, SHOTS)
        await measure("1,000 shots, written with their counts", written, pid, SHOTS // 1000)
        expected = facility.places[0]

        async def settle() -> None:
            for n in range(OBJECTS):
                await enter(archive, expected, END + n)

        await measure("an object, entered and settled", settle, pid, OBJECTS)
        start = END - DAY_MS

        async def repeat(search: Callable[[], Awaitable[object]]) -> None:
            for _ in range(TURNS):
                await search()

        for name, search in {
            "newest 50 shots": partial(archive.shots.page, ShotFilter(), start, END, 50, True),
            "newest 50 shots of a place": partial(archive.shots.page, PLACE, start, END, 50, True),
            "count of a place's shots": partial(archive.shots.count, PLACE, start, END),
            "first object that arrived": partial(archive.known_objects.first_arrival, 0, 2 * END),
            "ledger of a day": partial(archive.ledger.tally, start, END),
        }.items():
            await measure(name, partial(repeat, search), pid, TURNS)


async def measure(name: str, act: Callable[[], Awaitable[object]], pid: int, times: int) -> None:
    """Do something that consists of a number of equal parts, and print what one of them takes."""
    started, spent = time.monotonic(), cpu_s(pid)
    await act()
    took, cpu = time.monotonic() - started, cpu_s(pid) - spent
    print(f"| {name} | {1000 * took / times:.1f} | {1000 * cpu / times:.1f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
