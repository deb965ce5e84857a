"""Whatever is wrong with a snapshot file, it ends in records or in a reason, and harms no other file.

`MUTANTS=10000 pytest tests/fuzz -m fuzz` searches with new mutants; a finding names its seed.
"""

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_ingest.domain.snapshot import MAX_DECODED_BYTES
from shotwatch_ingest.readers.exchange import ReadFile, written_columns
from shotwatch_ingest.readers.pool import ReaderPool
from shotwatch_shots.errors import Reject
from shotwatch_shots.records import BlockRef, FileIngested, ObjectRef
from shotwatch_shots.vocabulary import FileReason
from tests.support.readers import workspace_of

from .mutants import IMAGES, SNAPSHOT, Mutant, mutant, valid_file

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
NAMES = {key: FACILITY.file_name(key) for key in (SNAPSHOT, IMAGES)}
ARRIVAL = 1_656_700_000_000
"""2022-07-01 18:26 UTC, epoch ms."""
MEMORY_BYTES = 2 << 30
MAX_MESSAGE_BYTES = 15 << 20
QUICK = range(100)


async def read(pool: ReaderPool, key: str, image: bytes) -> tuple[ReadFile, list[bytes]]:
    name = NAMES[key]
    assert name is not None
    with workspace_of(image) as workspace:
        found = await pool.read(workspace, name, key, ARRIVAL)
        columns = written_columns(found.devices, FACILITY)
        arrays = chain(*(workspace.arrays(of_device).values() for of_device in columns))
        return found, [array.tobytes() for array in arrays]


def texts(value: Any) -> Iterator[str]:
    """All texts in a structure of dicts and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts(key)
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def require_harmless(found: ReadFile) -> None:
    """What is published of a file is bounded and can be shown."""
    assert all(text.isprintable() for text in texts(found.model_dump()))
    columns = chain(*written_columns(found.devices, FACILITY))
    assert sum(column.size for column in columns) <= MAX_DECODED_BYTES
    key = "k" * 1024
    block = BlockRef(bucket="blocks", key=key, object_id="o" * 24, object_key=key)
    obj = ObjectRef(object_id="o" * 24, bucket="inbox", key=key, etag="e" * 64, size=1, arrived_at=ARRIVAL)
    message = FileIngested(object=obj, devices=[device.records(block) for device in found.devices])
    assert len(message.model_dump_json()) <= MAX_MESSAGE_BYTES


async def outcome(pool: ReaderPool, made: Mutant) -> str:
    """How reading it ends: `read`, or the reason of its rejection. Anything else is raised."""
    try:
        found, _ = await read(pool, made.key, made.image)
    except Reject as reject:
        require(reject.detail.startswith(f"{made.key}: ") and reject.detail.isprintable(), reject.detail)
        return FileReason(reject.reason)
    require_harmless(found)
    return "read"


def require(holds: bool, otherwise: str) -> None:
    assert holds, otherwise


async def try_mutants(seeds: Iterable[int], outcomes: Counter[str]) -> None:
    """Read each mutant and then a good file in the same process."""
    good = valid_file()
    async with ReaderPool(FACILITY, processes=1, memory_bytes=MEMORY_BYTES) as pool:
        expected = await read(pool, SNAPSHOT, good)
        for seed in seeds:
            made = mutant(seed)
            try:
                outcomes[await outcome(pool, made)] += 1
                assert await read(pool, SNAPSHOT, good) == expected
            except Exception as error:
                raise AssertionError(f"seed {seed}: {', '.join(made.mutations)}: {error!r}") from error


async def try_in_two_processes(seeds: range) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    # A child process counts what its parent had when it was started.
    of_others = max(
        resource.getrusage(who).ru_maxrss << 10 for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
    )
    await asyncio.gather(*(try_mutants(seeds[half::2], outcomes) for half in range(2)))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_maxrss << 10 <= max(MEMORY_BYTES, of_others)
    print(f"{dict(outcomes)}, largest reader {used.ru_maxrss >> 10} MiB, in all {used.ru_utime:.0f} s of CPU")
    return outcomes


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working folder of the readers, in which nothing may be written."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("empty_folder")
async def test_mutants_end_in_records_or_in_a_reason():
    outcomes = await try_in_two_processes(QUICK)

    assert outcomes["read"] > len(QUICK) / 4


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("empty_folder")
async def test_new_mutants_do_too():
    first = SystemRandom().randrange(1 << 60)

    await try_in_two_processes(range(first, first + int(os.environ.get("MUTANTS", "1000"))))
