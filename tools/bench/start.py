"""The start of the embedded stack: when each process is ready, what it has computed until then, its memory.

    python -m tools.bench.start TURNS=3

The first start is cold: it makes the data of all servers. The others start with those data.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import State, Status
from tools.bench.queries import FACILITY
from tools.bench.usage import spent_by

IDLE_S = 30.0


async def main(turns: int) -> None:
    with tempfile.TemporaryDirectory(prefix="shotwatch-bench-") as folder:
        for turn in range(turns + 1):
            print(f"start {turn}, {'warm' if turn else 'cold'}, load {os.getloadavg()[0]:.1f}")
            await start(Path(folder), idle=turn == turns)


async def start(folder: Path, idle: bool) -> None:
    """Start and end a stack, and print its figures; if `idle`, also those of a while without any work."""
    began, own, ready = time.monotonic(), time.process_time(), dict[str, float]()

    def note(status: Status) -> None:
        if status.state is State.READY:
            ready.setdefault(status.name, time.monotonic() - began)

    claimed = Stack.claim(
        folder, "bench", facility=FACILITY, settings={}, services=path_services(), on_change=note
    )
    async with claimed as stack:
        await stack.services_ready()
        took, supervisor = time.monotonic() - began, time.process_time() - own
        spent = spent_by(stack)
        print("| process | ready s | CPU s | PSS MiB |")
        print("| --- | ---: | ---: | ---: |")
        for name, at in sorted(ready.items(), key=lambda each: each[1]):
            cpu_s, mib = spent[name]
            print(f"| {name} | {at:.1f} | {cpu_s:.1f} | {mib:.0f} |")
        print(f"| supervisor | {took:.1f} | {supervisor:.1f} | — |")
        cpu_s, mib = (sum(each) for each in zip(*spent.values(), strict=True))
        print(f"| all | {took:.1f} | {cpu_s + supervisor:.1f} | {mib:.0f} |", flush=True)
        if idle:
            own = time.process_time()
            await asyncio.sleep(IDLE_S)
            idle_s = {"supervisor": time.process_time() - own}
            later = spent_by(stack)
            idle_s |= {name: later[name][0] - spent[name][0] for name in spent}
            for name, cpu_s in idle_s.items():
                print(f"idle: {name}, {1000 * cpu_s / IDLE_S:.1f} ms of CPU a second")
            mib = sum(mib for _, mib in later.values())
            print(f"idle: all, {1000 * sum(idle_s.values()) / IDLE_S:.1f} ms of CPU a second, {mib:.0f} MiB")


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    asyncio.run(main(int(given.get("TURNS", "3"))))
