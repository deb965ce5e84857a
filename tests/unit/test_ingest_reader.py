"""Reader processes: whatever a file does to one of them, it ends in a reason and disturbs nobody."""

import ast
import asyncio
import io
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from shotwatch_common.blocks import read_block, write_block
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import SettingsError
from shotwatch_common.turns import NICENESS, ProcessorUse
from shotwatch_ingest.domain.snapshot import read_snapshot
from shotwatch_ingest.readers import process as reader_process
from shotwatch_ingest.readers import verification
from shotwatch_ingest.readers.exchange import (
    ReadFile,
    Rejected,
    Workspace,
    cpu_seconds,
    outcomes,
    written_columns,
)
from shotwatch_ingest.readers.pool import ReaderPool
from shotwatch_shots.device_kinds import ImageDigest
from shotwatch_shots.errors import Bug, Reject, Retry
from shotwatch_shots.facility import FileName
from shotwatch_shots.records import VALID, BlockRef, DeviceRecords
from shotwatch_shots.vocabulary import FileReason, RecordReason
from shotwatch_validate.domain.judge import judge
from tests.support.readers import workspace_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FACILITY = load_facility(ROOT / "facilities" / "hpls.yaml")
CORPUS = ROOT.parent / "shared" / "data" / "malformed_hdf5"
HOSTILE = ROOT.parent / "shared" / "cases" / "hostile"
KEY = "LA_Camera01-Recorder_100ms_snapshot_2022-07-01_07-33-00.h5"
OLD_KEY = "LA_images_2021-05-03.h5"
CAMERA = "LA_A1_11-Camera_1-Camera-1"
METER = "LA_A1_11-EM_1-EnergyMeter-1"
SPECTRO = "LA_A1_11-Spectro_1-Spectro-1"
FRAMES = np.random.default_rng(4).integers(100, 4000, (4, 102, 128)).astype(np.uint16)


def name_of(key: str) -> FileName:
    name = FACILITY.file_name(key)
    assert name is not None
    return name


def camera_file(frames: Any = FRAMES, states: list[str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for n, frame in enumerate(frames):
            record = file.create_group(f"07-33-00-{100 * n:03d}/{CAMERA}")
            record.create_dataset("ROIImageLow", data=frame, chunks=(102, 128), compression=1)
            record["STATE"] = states[n] if states else "ON"
    return buffer.getvalue()


def file_of_frames_never_written(count: int) -> bytes:
    """A small file that claims to hold 26 kB a frame, of ten cameras at 10 Hz."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for n in range(count):
            second, camera = n // 100, 1 + n % 10
            record = f"07-33-{second:02d}-{n // 10 % 10}00/LA_A1_11-Camera_{camera}-Camera-{camera}"
            file.create_dataset(f"{record}/ROIImageLow", (102, 128), np.uint16)
    return buffer.getvalue()


GOOD = camera_file()
LATEST = 2_000_000_000_000
"""Epoch ms, 2033: the time of arrival does not matter here."""


class Saboteur:
    """Stands for the facility's reading of a key, and runs Python in the reader when it arrives there.

    The code is an expression; where it returns, what arrives is the real thing.
    """

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"({self.code}, name)[1]", {"name": name_of(KEY)})

    def __getattr__(self, attribute: str) -> Any:
        """In the service it is the real thing, too."""
        return getattr(name_of(KEY), attribute)


class OnceSaboteur(Saboteur):
    """Does so at the first attempt only."""

    def __reduce__(self) -> tuple[Any, ...]:
        code, self.code = self.code, "None"
        return eval, (f"({code}, name)[1]", {"name": name_of(KEY)})


class ThenWitness(Saboteur):
    """Does so at the first attempt; at the second one, it is a witness."""

    def __init__(self, code: str, seen: str) -> None:
        super().__init__(code)
        self.seen = seen
        self.attempts = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.attempts += 1
        return super().__reduce__() if self.attempts == 1 else Witness(self.seen).__reduce__()


class Witness:
    """Stands for the same, and reports what an expression is in the reader: by an error, its only way out."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        report = f"exec({f'raise RuntimeError(repr({self.code}))'!r})"
        return eval, (f"type('Witness', (), {{'__getattr__': lambda self, name: {report}}})()",)


CPU_TIME_LEFT = "__import__('signal').setitimer(__import__('signal').ITIMER_PROF, 0)[0]"
DIE_AFTER_A_SECOND = "(__import__('time').sleep(1), __import__('os')._exit(3))"
CRASH = Saboteur("__import__('ctypes').string_at(0)")
HANG = Saboteur("__import__('time').sleep(1000)")
REPLIES = "__import__('sys')._getframe(1).f_locals['replies']"
COMPUTE = Saboteur("all(True for _ in iter(int, 1))")


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ReaderPool]:
    """One for all tests: it recovers from what they do to it."""
    async with ReaderPool(FACILITY, processes=1, seconds_per_file=20) as pool:
        yield pool


async def read(pool: ReaderPool, image: bytes, key: str = KEY, name: Any = None) -> ReadFile:
    with workspace_of(image) as workspace:
        return await pool.read(workspace, name or name_of(key), key, LATEST)


async def report(pool: ReaderPool, code: str) -> Any:
    """The value of an expression in the process that reads the next file."""
    return await seen_by(pool, Witness(code))


async def seen_by(pool: ReaderPool, witness: Any) -> Any:
    with pytest.raises(Bug) as bug:
        await read(pool, GOOD, name=witness)
    return ast.literal_eval(str(bug.value).strip().rpartition("RuntimeError: ")[2])


async def rejection(pool: ReaderPool, image: bytes, key: str = KEY, name: Any = None) -> Reject:
    with pytest.raises(Reject) as rejected:
        await read(pool, image, key, name)
    assert rejected.value.detail.startswith(f"{key}: ")
    return rejected.value


def reader_processes() -> set[int]:
    """The ids of the readers that this process has, as the kernel lists its children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return {child for child, command in commands.items() if b"shotwatch_ingest.readers" in command}


async def idle_reader(pool: ReaderPool) -> set[int]:
    """The reader that is left after a good file."""
    await read(pool, GOOD)
    return reader_processes()


async def test_a_file_is_read_as_in_this_process(pool: ReaderPool):
    expected = read_snapshot(KEY, GOOD, name_of(KEY), FACILITY, LATEST).devices[0]
    with workspace_of(GOOD) as workspace:
        [device] = (await pool.read(workspace, name_of(KEY), KEY, LATEST)).devices

        [columns] = written_columns([device], FACILITY)
        np.testing.assert_array_equal(workspace.arrays(columns)["image"], FRAMES)
    assert device.times.tolist() == expected.block.time.tolist()
    assert (device.device, device.states, device.state.tolist()) == (CAMERA, ["ON"], [0] * 4)
    assert isinstance(device.digest, ImageDigest)
    assert device.digest.maximum.tolist() == [frame.max() for frame in FRAMES]


def energies(*pairs: tuple[Any, Any]) -> bytes:
    """Records of an energy meter and of a spectrometer whose middle sample is the first energy."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for n, (first, second) in enumerate(pairs):
            meter = file.create_group(f"07-33-00-{100 * n:03d}/{METER}")
            meter.update({"STATE": "ON", "energy1Corrected": first, "energy2Corrected": second})
            spectrum = np.full(2047, 100.0)
            spectrum[1000] = first
            file[f"07-33-00-{100 * n:03d}/{SPECTRO}/intensityFitted"] = spectrum
            file[f"07-33-00-{100 * n:03d}/{SPECTRO}/STATE"] = "ON"
    return buffer.getvalue()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300])
async def test_numbers_that_are_not_finite_never_pass_as_valid(pool: ReaderPool, value: Any):
    """From the file through the message to the verdict; what is too large for a column is infinite in it."""
    image = energies((2.0, 2.0), (value, 2.0), (2.0, 2.0))
    block = BlockRef(bucket="blocks", key="b", object_id="o", object_key=KEY)

    for device in (await read(pool, image)).devices:
        message = DeviceRecords.model_validate_json(device.records(block).model_dump_json())
        judged = judge(message, FACILITY)

        assert [verdict == VALID for verdict in judged.verdict] == [True, False, True]
        [reason] = judged.reasons
        assert reason.split(":")[0] in (RecordReason.NOT_FINITE, RecordReason.OUT_OF_RANGE)


async def test_what_was_read_becomes_a_message_once_its_block_is_stored(pool: ReaderPool):
    block = BlockRef(bucket="blocks", key="b", object_id="o", object_key=KEY)

    [device] = (await read(pool, camera_file(states=["ON", "OFF", "", "ON"]))).devices
    message = device.records(block)

    assert message.block == block
    assert [message.states[n] if n >= 0 else None for n in message.state] == ["ON", "OFF", None, "ON"]
    assert [(problem.row, problem.reason) for problem in message.problems] == [(2, "state_missing")]
    assert message.series.interval == "100ms"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", FileReason.EMPTY),
        (b"no HDF5", FileReason.NOT_HDF5),
        (GOOD[:-100], FileReason.TRUNCATED),
        (GOOD[:9] + b"\xff" * 7 + GOOD[16:], FileReason.UNREADABLE),
    ],
)
async def test_a_bad_file_ends_in_its_reason(pool: ReaderPool, image: bytes, reason: FileReason):
    assert (await rejection(pool, image)).reason == reason
    assert await read(pool, GOOD)


@pytest.mark.parametrize(
    ("saboteur", "reason", "detail"),
    [
        (CRASH, FileReason.CRASHES_READER, "died of SIGSEGV, twice"),
        (Saboteur("__import__('os')._exit(3)"), FileReason.CRASHES_READER, "exit code 3, twice"),
    ],
)
async def test_a_file_that_crashes_two_readers_is_rejected(
    pool: ReaderPool, saboteur: Saboteur, reason: FileReason, detail: str
):
    rejected = await rejection(pool, GOOD, name=saboteur)

    assert rejected.reason == reason
    assert detail in rejected.detail
    assert await read(pool, GOOD)


async def test_a_file_at_which_two_readers_do_nothing_is_rejected():
    async with ReaderPool(FACILITY, processes=1, seconds_per_file=2) as pool:
        rejected = await rejection(pool, GOOD, name=HANG)

    assert rejected.reason == FileReason.TOO_SLOW
    assert "took longer than 2 s, twice" in rejected.detail


async def test_a_reader_that_the_machine_halted_once_is_a_hiccup():
    of_others = reader_processes()
    async with ReaderPool(FACILITY, processes=1, seconds_per_file=5) as pool:
        [halted] = reader_processes() - of_others
        os.kill(halted, signal.SIGSTOP)

        assert await read(pool, GOOD)

        assert halted not in reader_processes()


async def test_a_machine_that_gives_a_reader_no_processor_is_not_the_files_fault(
    monkeypatch: pytest.MonkeyPatch,
):
    def waits(_process: int) -> ProcessorUse:
        return ProcessorUse(running=0.0, waiting=monotonic())

    async with ReaderPool(FACILITY, processes=1, seconds_per_file=2) as pool:
        monkeypatch.setattr("shotwatch_ingest.readers.pool.processor_use", waits)

        with pytest.raises(Retry, match=f"{KEY}: the reader waited for a processor for .* of 2 s"):
            await read(pool, GOOD, name=HANG)
        assert await read(pool, GOOD)


async def test_a_file_that_takes_too_much_memory_is_rejected():
    async with ReaderPool(FACILITY, processes=1, memory_bytes=200 << 20) as pool:
        rejected = await rejection(pool, file_of_frames_never_written(6_000))

        assert rejected.reason == FileReason.TOO_LARGE
        assert "needs more memory" in rejected.detail
        assert await read(pool, GOOD)


def mapped(size: int, flags: int) -> str:
    """An expression that maps memory without a file, and is -1 if that is refused."""
    mmap = "(c := __import__('ctypes'), f := c.CDLL(None).mmap, setattr(f, 'restype', c.c_long))[1]"
    return f"{mmap}(None, c.c_size_t({size}), 3, {flags}, -1, 0)"


@pytest.mark.parametrize("kind", [mmap.MAP_SHARED, mmap.MAP_PRIVATE], ids=["shared", "private"])
async def test_a_reader_gets_no_more_memory_than_its_limit_of_any_kind(kind: int):
    async with ReaderPool(FACILITY, processes=1, memory_bytes=1 << 30) as pool:
        assert await report(pool, mapped(1 << 30, kind | mmap.MAP_ANONYMOUS)) == -1
        assert await report(pool, mapped(1 << 29, kind | mmap.MAP_ANONYMOUS)) > 0


async def test_libdeflate_without_memory_ends_only_its_reader():
    """It uses 11 kB of memory without checking that it has got them."""
    use_up = "all(all(iter(lambda: malloc(size), 0)) for size in (1 << 20, 8000))"
    inflate = f"__import__('deflate').zlib_decompress({zlib.compress(b'a')!r}, 1)"
    code = f"(malloc := __import__('ctypes').CDLL(None).malloc, {use_up}, {inflate})"
    async with ReaderPool(FACILITY, processes=1, memory_bytes=200 << 20) as pool:
        rejected = await rejection(pool, GOOD, name=Saboteur(code))

        assert rejected.reason == FileReason.CRASHES_READER
        assert "died of SIGSEGV, twice" in rejected.detail
        assert await read(pool, GOOD)


async def test_a_reader_does_not_load_arrow(pool: ReaderPool):
    loaded = await report(pool, "[name for name in __import__('sys').modules if name.startswith('py')]")
    assert "pydantic" in loaded
    assert "pyarrow" not in loaded


async def test_a_reader_that_died_once_is_a_hiccup(pool: ReaderPool):
    assert await read(pool, GOOD, name=OnceSaboteur("__import__('os')._exit(3)"))


async def test_both_attempts_at_a_file_share_one_limit_of_cpu_time(pool: ReaderPool):
    left = await seen_by(pool, ThenWitness(DIE_AFTER_A_SECOND, CPU_TIME_LEFT))
    assert 0 < left <= 4.02


async def test_a_file_that_used_up_its_cpu_time_is_not_tried_again(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shotwatch_ingest.readers.pool.cpu_seconds", lambda _size: 1.0)
    saboteur = ThenWitness(DIE_AFTER_A_SECOND, "'tried again'")
    rejected = await rejection(pool, GOOD, name=saboteur)
    assert rejected.reason == FileReason.CRASHES_READER
    assert saboteur.attempts == 1


async def test_a_file_that_takes_too_much_cpu_time_is_rejected_at_once(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
):
    limit = await report(pool, CPU_TIME_LEFT)
    assert limit == pytest.approx(5, abs=0.1), "for a small file"
    monkeypatch.setattr("shotwatch_ingest.readers.pool.cpu_seconds", lambda _size: 0.05)

    rejected = await rejection(pool, GOOD, name=OnceSaboteur(COMPUTE.code))

    assert rejected.reason == FileReason.TOO_SLOW
    assert "took more CPU time than a file of its size may" in rejected.detail


def test_a_large_file_may_take_longer_than_a_small_one_but_no_file_more_than_30_s() -> None:
    assert cpu_seconds(128 << 10) < 5.1
    assert 20 < cpu_seconds(200 << 20) < cpu_seconds(249 << 20) < cpu_seconds(1 << 40) == 30


async def test_our_own_mistakes_are_not_the_files_fault(pool: ReaderPool):
    with pytest.raises(Bug, match="AttributeError"):
        await read(pool, GOOD, name="no file name")


async def test_no_room_for_blocks_is_not_the_files_fault(pool: ReaderPool):
    with workspace_of(GOOD) as workspace:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, workspace.blocks)
        os.close(full)

        with pytest.raises(Retry, match="No space left"):
            await pool.read(workspace, name_of(KEY), KEY, LATEST)


def test_no_room_for_a_file_is_not_its_fault():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with Workspace() as workspace, pytest.raises(Retry, match="File too large"):
            workspace.take(GOOD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nobody_can_open_the_files_of_a_workspace():
    with workspace_of(GOOD) as workspace:
        assert [os.fstat(file).st_nlink for file in (workspace.image, workspace.blocks)] == [0, 0]


async def test_a_reply_that_is_none_is_the_readers_death(pool: ReaderPool):
    """A reader that was taken over writes what it likes."""
    nonsense = f"__import__('os').write({REPLIES}, (8).to_bytes(8, 'little') + b'nonsense')"

    rejected = await rejection(pool, GOOD, name=Saboteur(nonsense))

    assert rejected.reason == FileReason.CRASHES_READER


def honest_reply() -> dict[str, Any]:
    with workspace_of(GOOD) as workspace:
        answer = reader_process.reply(
            (name_of(KEY), KEY, LATEST), workspace.image, workspace.blocks, FACILITY
        )
    reply: dict[str, Any] = json.loads(answer)
    return reply


def taken_over(reply: dict[str, Any], columns: str) -> Saboteur:
    """What a file does that has taken over its reader: it writes columns (given as code) and replies."""
    answer = json.dumps(reply).encode()
    return Saboteur(
        f"__import__('os').write({REPLIES.replace('replies', 'blocks')}, {columns}),"
        f"__import__('os').write({REPLIES}, {len(answer).to_bytes(8, 'little') + answer!r}),"
        "__import__('os')._exit(0)"
    )


COLUMNS = f"bytes({FRAMES.nbytes})"
FORGED: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "no device": lambda reply, _: reply.update(devices=[]),
    "one of them twice": lambda reply, device: reply.update(devices=[device, device]),
    "too many examples": lambda reply, _: reply.update(
        examples=[{"where": "/", "reason": "not_a_time", "detail": ""}] * 100
    ),
    "names no place": lambda _, device: device.update(device="LA_Z9-Camera_1-Camera-1"),
    "does not belong to LA": lambda _, device: device.update(device=CAMERA.replace("LA", "LB")),
    "control or bidirectional": lambda _, device: device.update(device=f"{CAMERA}\x1b[2J"),
    "is no EnergyMeter": lambda _, device: device.update(kind="EnergyMeter"),
    "belongs to LA-A1-11-100ms": lambda _, device: device.update(
        series={"place": "LA-A2-00", "interval": "1s"}
    ),
    "has 0 records": lambda _, device: device.update(times=[]),
    "has 2000 records": lambda _, device: device.update(times=device["times"][:1] * 2000),
    "do not ascend": lambda _, device: device["times"].reverse(),
    "do not ascend ": lambda _, device: device.update(times=[0, -(2**63), -1, 0]),
    "the file covers": lambda _, device: device.update(times=[253_402_300_000_000] * 4),
    "has 5 states of 4 records": lambda _, device: device["state"].append(0),
    "a number outside -1..0": lambda _, device: device.update(state=[0, 0, 0, 1]),
    "a number outside -1..0 ": lambda _, device: device.update(state=[0, 0, 0, -2]),
    "has equal states": lambda _, device: device.update(states=["ON", "ON"]),
    "cannot be displayed": lambda _, device: device.update(states=["O\x1bN"]),
    "cannot be displayed ": lambda _, device: device.update(states=["O" * 1000]),
    "a number outside 0..3": lambda _, device: device.update(
        problems=[{"row": 4, "reason": "data_missing", "detail": ""}]
    ),
    "has 9 problems": lambda _, device: device.update(
        problems=[{"row": 0, "reason": "data_missing", "detail": ""}] * 9
    ),
    "a number outside 0..3 ": lambda _, device: device.update(
        problems=[{"row": 2**70, "reason": "data_missing", "detail": ""}]
    ),
    "malformed": lambda reply, _: reply.update(skipped={"not_a_time": 2**64}),
    "malformed ": lambda reply, _: reply.update(skipped={"not_a_time": -1}),
    "malformed  ": lambda _, device: device.update(times=[2**64] * 4),
    "another kind of digest": lambda _, device: device.update(digest=None),
    "has 3 maximum of 4 records": lambda _, device: device["digest"]["maximum"].pop(),
}
"""What a reader that was taken over changes in its reply, by what is wrong with it then."""


async def test_a_reply_of_a_reader_that_was_taken_over_passes_if_it_is_possible(pool: ReaderPool):
    """The forgeries below are refused for what they change, not for being forgeries."""
    [device] = (await read(pool, GOOD, name=taken_over(honest_reply(), COLUMNS))).devices
    assert device.device == CAMERA


@pytest.mark.parametrize("problem", FORGED)
async def test_a_reply_that_is_impossible_is_the_readers_death(pool: ReaderPool, problem: str):
    reply = honest_reply()
    FORGED[problem](reply, reply["devices"][0])

    rejected = await rejection(pool, GOOD, name=taken_over(reply, COLUMNS))

    assert rejected.reason == FileReason.CRASHES_READER
    assert problem.strip() in rejected.detail
    assert rejected.detail.isprintable()


@pytest.mark.parametrize("outcome", ['rejected", "reason": "not_hdf5', 'failed", "cause": "bug'])
async def test_a_text_that_no_reader_writes_is_its_death(pool: ReaderPool, outcome: str):
    """The ledger would keep 11 MB for the file, and every list of files would contain them."""
    begin, size = f'{{"outcome": "{outcome}", "detail": "'.encode(), 11 << 20
    length = len(begin) + size + len(b'"}')
    answer = f"{length.to_bytes(8, 'little') + begin!r} + b'x' * {size} + b'\"}}'"
    write_all = "__import__('shotwatch_ingest.readers.exchange').readers.exchange.write_all"

    rejected = await rejection(pool, GOOD, name=Saboteur(f"{write_all}({REPLIES}, {answer})"))

    assert rejected.reason == FileReason.CRASHES_READER
    assert len(rejected.detail) < 1000


@pytest.mark.parametrize("cause", ["bug", "scratch"])
async def test_after_a_failure_a_reader_is_not_trusted_with_another_file(pool: ReaderPool, cause: str):
    before = await idle_reader(pool)
    answer = json.dumps({"outcome": "failed", "cause": cause, "detail": "\x1b[2J"}).encode()
    framed = len(answer).to_bytes(8, "little") + answer
    with pytest.raises((Bug, Retry), match=r": \\x1b\[2J$"):
        await read(pool, GOOD, name=Saboteur(f"__import__('os').write({REPLIES}, {framed!r})"))

    assert before.isdisjoint(await idle_reader(pool))


async def test_records_that_do_not_fit_into_a_block_are_the_readers_death(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verification, "MAX_DATA_BYTES", FRAMES.nbytes - 1)

    rejected = await rejection(pool, GOOD, name=taken_over(honest_reply(), COLUMNS))

    assert rejected.reason == FileReason.CRASHES_READER
    assert f"has {FRAMES.nbytes} bytes of data" in rejected.detail


async def test_records_in_too_many_windows_are_the_readers_death(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verification, "MOST_WINDOWS", 0)

    rejected = await rejection(pool, GOOD, name=taken_over(honest_reply(), COLUMNS))

    assert rejected.reason == FileReason.CRASHES_READER
    assert "it has records in 1 windows" in rejected.detail


async def test_columns_that_were_not_written_are_the_readers_death(pool: ReaderPool):
    rejected = await rejection(pool, GOOD, name=taken_over(honest_reply(), "bytes(9)"))

    assert rejected.reason == FileReason.CRASHES_READER
    assert f"its columns have {FRAMES.nbytes} bytes, of which" in rejected.detail


async def test_what_a_reader_wrote_becomes_numbers_of_a_valid_block(pool: ReaderPool):
    """An Arrow file whose offsets point outside it would crash whoever reads it: here it is pixels."""
    outside = f"(b'ARROW1' + b'\\xff' * {FRAMES.nbytes - 6})"
    with workspace_of(GOOD) as workspace:
        saboteur: Any = taken_over(honest_reply(), outside)
        [device] = (await pool.read(workspace, saboteur, KEY, LATEST)).devices
        [columns] = written_columns([device], FACILITY)
        stored = write_block(device.block(workspace.arrays(columns)))

    pa.ipc.open_file(stored).read_all().validate(full=True)
    assert read_block(stored).arrays["image"].tobytes() == eval(outside)


async def test_what_a_reader_wrote_before_it_died_is_not_taken_for_columns(pool: ReaderPool):
    dies = OnceSaboteur(
        f"__import__('os').write({REPLIES.replace('replies', 'blocks')}, b'half'), __import__('os')._exit(3)"
    )
    with workspace_of(GOOD) as workspace:
        name: Any = dies
        [device] = (await pool.read(workspace, name, KEY, LATEST)).devices
        [columns] = written_columns([device], FACILITY)
        np.testing.assert_array_equal(workspace.arrays(columns)["image"], FRAMES)


async def test_a_reply_that_is_too_long_is_not_waited_for(pool: ReaderPool):
    long = f"__import__('os').write({REPLIES}, (1 << 40).to_bytes(8, 'little'))"

    rejected = await rejection(pool, GOOD, name=Saboteur(long))

    assert rejected.reason == FileReason.TOO_LARGE


def test_a_file_whose_message_would_be_too_long_is_rejected(monkeypatch: pytest.MonkeyPatch):
    with workspace_of(GOOD) as workspace:
        files = workspace.image, workspace.blocks
        whole = reader_process.reply((name_of(KEY), KEY, LATEST), *files, FACILITY)
        monkeypatch.setattr(reader_process, "MAX_REPLY_BYTES", len(whole) - 1)

        rejected = outcomes.validate_json(reader_process.reply((name_of(KEY), KEY, LATEST), *files, FACILITY))

    assert isinstance(rejected, Rejected)
    assert rejected.reason is FileReason.TOO_LARGE
    assert f"{len(whole)} bytes" in rejected.detail


async def test_a_file_that_hangs_holds_up_no_other():
    async with ReaderPool(FACILITY, processes=2) as pool:
        hangs = asyncio.create_task(read(pool, GOOD, name=HANG))
        await asyncio.sleep(0)  # it has the only reader that runs

        assert await read(pool, GOOD)
        assert not hangs.done()
        hangs.cancel()


async def test_a_reader_whose_answer_is_not_awaited_is_replaced():
    others = reader_processes()
    async with ReaderPool(FACILITY, processes=1) as pool:
        before = await idle_reader(pool) - others
        hangs = asyncio.create_task(read(pool, GOOD, name=HANG))
        await asyncio.sleep(0)
        hangs.cancel()

        assert before.isdisjoint(await idle_reader(pool))


@pytest.mark.parametrize("yielding", [False, True])
async def test_readers_yield_the_cores_if_they_are_meant_to(yielding: bool):
    others = reader_processes()
    async with ReaderPool(FACILITY, processes=1, yielding=yielding):
        [reader] = reader_processes() - others

        ours, theirs = (os.getpriority(os.PRIO_PROCESS, each) for each in (os.getpid(), reader))
        assert theirs == min(ours + NICENESS * yielding, 19)


async def test_a_reader_reads_one_file_after_the_other(pool: ReaderPool):
    assert len(await idle_reader(pool)) == 1
    assert reader_processes() == await idle_reader(pool)


async def test_after_a_damaged_file_a_reader_is_not_trusted_with_another(pool: ReaderPool):
    before = await idle_reader(pool)
    await rejection(pool, GOOD[:9] + b"\xff" * 7 + GOOD[16:])

    assert before.isdisjoint(await idle_reader(pool))


async def test_a_reader_gets_no_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOTWATCH_STORE_SECRET_KEY", "secret")
    async with ReaderPool(FACILITY, processes=1) as pool:
        environment = await report(pool, "dict(__import__('os').environ)")

    assert "HDF5_PLUGIN_PRELOAD" in environment
    assert "SHOTWATCH" not in str(environment)


@pytest.mark.parametrize(
    "attempt", ["open('/etc/passwd')", "__import__('os').fork()", "__import__('_socket').socket(1, 1)"]
)
async def test_a_reader_can_open_nothing(pool: ReaderPool, attempt: str):
    with pytest.raises(Bug, match="PermissionError"):
        await read(pool, GOOD, name=Witness(attempt))


async def test_a_service_whose_readers_cannot_be_confined_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unusual = "import platform\nplatform.machine = lambda: 'pdp11'\n"
    (tmp_path / "sitecustomize.py").write_text(unusual)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(SettingsError, match=r"pdp11.*seccomp"):
        async with ReaderPool(FACILITY, processes=1):
            pass


async def test_leaving_the_pool_ends_its_processes():
    before = reader_processes()
    async with ReaderPool(FACILITY, processes=1) as pool:
        [reader] = await idle_reader(pool) - before

    with pytest.raises(ProcessLookupError):
        os.kill(reader, 0)


SERVICE = """
import asyncio, os
from pathlib import Path
from shotwatch_common.facility_file import load_facility
from shotwatch_ingest.readers.pool import ReaderPool

async def main():
    async with ReaderPool(load_facility(Path({facility!r})), processes=1):
        print(Path(f"/proc/self/task/{{os.getpid()}}/children").read_text(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_readers_die_with_a_killed_service():
    facility = str(ROOT / "facilities" / "hpls.yaml")
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE.format(facility=facility)], stdout=subprocess.PIPE
    )
    assert service.stdout is not None
    reader = os.pidfd_open(int(service.stdout.readline()))

    service.send_signal(signal.SIGKILL)
    service.wait()

    ended, _, _ = select.select([reader], [], [], 60)
    assert ended


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="../shared/cases/hostile is absent")
async def test_hostile_files_end_as_their_readme_states(pool: ReaderPool):
    """Each did harm once, and what is right stands beside the files; here is the part of ingest in it."""
    right = {
        "LA_ansi": ["LA_A1_11-EM_1-EnergyMeter-1"],
        "LA_evil": ["LA_A1_11-x000000"],
        "LA_p_": ["LA_A1-x"],
        "LA_r_": FileReason.IMPOSSIBLE_TIME,
        "LA_slash": ["LA_A1_11-EM_1-EnergyMeter-1"],
        "LB_honest": [f"LB_F1-EM_{n}-EnergyMeter-{n}" for n in range(1, 6)],
    }
    for path in sorted(HOSTILE.glob("*.h5")):
        [expected] = [outcome for name, outcome in right.items() if path.name.startswith(name)]
        try:
            found: Any = [d.device for d in (await read(pool, path.read_bytes(), path.name)).devices]
        except Reject as reject:
            found = reject.reason
        assert found == expected, path.name


@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/data/malformed_hdf5 is absent")
@pytest.mark.parametrize("key", [KEY, OLD_KEY])
async def test_every_malformed_file_ends_in_a_reason_and_good_ones_are_read_after(key: str):
    files = sorted(CORPUS.rglob("*.h5"))
    async with ReaderPool(FACILITY, processes=2, seconds_per_file=20) as pool:
        rejected = await asyncio.gather(*(rejection(pool, path.read_bytes(), key) for path in files))

        assert len(files) == 199
        assert {each.reason for each in rejected} <= set(FileReason)
        assert await read(pool, GOOD)


async def test_damage_anywhere_in_a_file_ends_in_a_reason_or_in_records():
    mostly_metadata = camera_file(np.full_like(FRAMES, 100))
    random = np.random.default_rng(5)
    async with ReaderPool(FACILITY, processes=2, seconds_per_file=20) as pool:
        for _ in range(200):
            image = bytearray(mostly_metadata)
            for place in random.integers(0, len(image), 8):
                image[place] = random.integers(256)
            with suppress(Reject):
                assert (await read(pool, bytes(image))).devices

        assert await read(pool, GOOD)
