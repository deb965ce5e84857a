"""CPU time of a block into the embedded store and out of it, with and without the block cache.

    OMP_NUM_THREADS=1 python -m tools.bench.blocks

Times are ms per MB, of this process (client and cache) and of the store apart. The frames are those of
`tools.bench.read`. The raw file has the bytes of the block. Also measures Arrow's own compression of it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from zlib import crc32

import numpy as np
import pyarrow as pa

from shotwatch_common.block import Block
from shotwatch_common.block_cache import BlockCache
from shotwatch_common.blocks import write_block
from shotwatch_common.fetching import fetch_block, put_block
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers.store import store
from shotwatch_shots.records import BlockRef

from .read import cpu_ms, made_frames

KEYS = ("the-access-key", "the-secret-key")
TURNS = 7
CACHE_BYTES = 1 << 30
CODECS = {"none": None, "lz4": "lz4", "zstd 1": pa.Codec("zstd", 1)}
_TICKS = os.sysconf("SC_CLK_TCK")


async def main() -> None:
    frames = made_frames()
    on = np.ones(len(frames), np.bool_)
    records = Block("camera", np.arange(len(frames)), ["ON"] * len(frames), on, {"image": frames})
    block = write_block(records)
    print(f"a block of {len(block) / 1e6:.1f} MB, load {os.getloadavg()[0]:.1f}; ms per MB, client + store")
    with TemporaryDirectory() as folder, TemporaryDirectory(dir="/dev/shm") as memory:
        async with running_store(Path(folder)) as (plain, pid):
            cached = ObjectStore(plain._client, BlockCache(os.open(memory, os.O_RDONLY), CACHE_BYTES))
            measured = partial(measure, pid, len(block) / 1e6)
            await measured("raw file, put", lambda n: plain.put("inbox", f"{n}.h5", block))
            await measured("raw file, get", lambda n: plain.get("inbox", f"{n}.h5"))
            await measured("raw file, move", lambda n: plain.move(("inbox", f"{n}.h5"), ("data", f"{n}.h5")))
            refs = [
                BlockRef(bucket="blocks", key=f"{n}", object_id="", object_key="", crc32=crc32(block))
                for n in range(TURNS)
            ]
            for title, used in {"store alone": plain, "block cache": cached}.items():
                await measured(f"{title}, put", lambda n, used=used: put_block(used, refs[n], records))
                await measured(f"{title}, fetch", lambda n, used=used: fetch_block(used, refs[n]))
    print_codecs(block)


@asynccontextmanager
async def running_store(folder: Path) -> AsyncIterator[tuple[ObjectStore, int]]:
    """Run the embedded store; yield its client and its process."""
    ports = Ports()
    server = store(folder, *KEYS, ports)
    process = await asyncio.create_subprocess_exec(
        *server.command, env=server.environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with ObjectStore.at(f"http://{LOOPBACK}:{server.port}", *KEYS) as client:
            while not await client.ready("inbox"):
                await asyncio.sleep(0.1)
            await client.ensure_buckets("inbox", "data", "blocks")
            yield client, process.pid
    finally:
        process.terminate()
        await process.wait()
        ports.release()


async def measure(pid: int, megabytes: float, title: str, act: Callable[[int], Awaitable[object]]) -> None:
    """Print the CPU time of an act: the median of this process, and the mean of the store."""
    spent, before = [], cpu_s(pid)
    for n in range(TURNS):
        began = process_time()
        await act(n)
        spent.append(process_time() - began)
    of_store = (cpu_s(pid) - before) / TURNS
    print(
        f"  {title}: {1000 * median(spent) / megabytes:.2f} + {1000 * of_store / megabytes:.2f}", flush=True
    )


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def print_codecs(block: pa.Buffer) -> None:
    table = uncompressed(block)
    for name, codec in CODECS.items():
        data = compressed(table, codec)
        spent = cpu_ms({"write": partial(compressed, table, codec), "read": partial(uncompressed, data)})
        ways = ", ".join(f"{way} {milliseconds:.1f} ms" for way, milliseconds in spent.items())
        print(f"  Arrow's compression {name}: {len(data) / 1e6:.1f} MB, {ways}")


def uncompressed(data: pa.Buffer) -> pa.Table:
    """Return what a file holds. `read_block` refuses compressed blocks."""
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def compressed(table: pa.Table, codec: str | pa.Codec | None) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    return sink.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
