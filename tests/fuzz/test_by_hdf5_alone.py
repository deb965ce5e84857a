"""What is recognised by its bytes is read as HDF5 alone reads it, whatever is wrong with the file.

One difference is allowed. HDF5 opens an object by its name, along the tree of its parent. If that tree is
damaged, HDF5 may list an object and not find it. It may be read here, because its address is listed too.
"""

import os
import re
import resource
from collections import Counter
from collections.abc import Iterable
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import SystemRandom
from traceback import format_exc

import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_ingest.domain.hdf5 import datasets, structures
from shotwatch_ingest.domain.snapshot import Snapshot, read_snapshot
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import FileReason, SkipReason

from .mutants import SNAPSHOT, mutant

ROOT = Path(__file__).parents[2]
FACILITY = load_facility(ROOT / "facilities" / "hpls.yaml")
CORPUS = [ROOT.parent / "shared" / "data" / "malformed_hdf5", ROOT.parent / "shared" / "cases"]
ARRIVAL = 1_656_700_000_000
"""2022-07-01 18:26 UTC, epoch ms."""
CPU_SECONDS = 60
"""Twice what a reader may take, as each file is read twice."""
FOUND = [514988061669407933, 29644614435029940, 624115306902153563]
"""Seeds of mutants that once were read differently."""
QUICK = [*FOUND, *range(30)]


def read(key: str, image: bytes) -> Snapshot | Reject:
    name = FACILITY.file_name(key)
    assert name is not None
    try:
        return read_snapshot(key, image, name, FACILITY, ARRIVAL)
    except Reject as reject:
        return reject


def read_by_hdf5_alone(key: str, image: bytes) -> Snapshot | Reject:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structures, "group_template", lambda *_: None)
        patch.setattr(datasets, "header_template", lambda *_: None)
        return read(key, image)


def records(snapshot: Snapshot) -> Counter[tuple[object, ...]]:
    """Each record with all that is known of it, except its row."""
    found: Counter[tuple[object, ...]] = Counter()
    for device in snapshot.devices:
        block, digest = device.block, vars(device.digest) if device.digest else {}
        columns = [*block.arrays.values(), *(digest[name] for name in sorted(digest.keys() - {"role"}))]
        for row, (time, state, readable) in enumerate(
            zip(block.time.tolist(), block.state, block.readable.tolist(), strict=True)
        ):
            problems = tuple((each.reason, each.detail) for each in device.problems if each.row == row)
            data = tuple(column[row].tobytes() for column in columns)
            found[(device.device.group, time, state, readable, problems, data)] += 1
    return found


def compare(key: str, image: bytes) -> str:
    """Return how reading ends, or raise if it ends differently by HDF5 alone."""
    ours, theirs = read(key, image), read_by_hdf5_alone(key, image)
    if isinstance(ours, Reject) and isinstance(theirs, Reject):
        assert ours.reason == theirs.reason
        assert stable(ours.detail) == stable(theirs.detail)
        return "rejected"
    if isinstance(theirs, Reject):
        assert theirs.reason == FileReason.UNREADABLE
        return "more was read"
    assert isinstance(ours, Snapshot)
    lost = records(theirs) - records(ours)
    unreadable = theirs.skipped.counts[SkipReason.UNREADABLE] - ours.skipped.counts[SkipReason.UNREADABLE]
    if not lost and not unreadable:
        if more := records(ours) - records(theirs):
            # A moment that HDF5 does not find by its name is one unreadable part, and so is what it lacks.
            assert theirs.skipped.counts[SkipReason.UNREADABLE] > 0, more
            return "more was read"
        assert ours.skipped.counts == theirs.skipped.counts
        return "read"
    for _, _, _, _, problems, _ in lost:
        assert "synchronously open" in str(problems) or (unreadable > 0 and "is not there" in str(problems))
    return "more was read"


def stable(detail: str) -> str:
    """Return a detail without what HDF5 words differently from time to time, or counts of what it opened."""
    return re.split("(?<=cannot be opened: )|(?<=its chunks are )", detail)[0]


def compared_in_child(key: str, image: bytes) -> str:
    """Compare in a process of its own, which HDF5 may crash or keep busy."""
    receiving, sending = get_context("fork").Pipe(duplex=False)

    def work(answer: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        try:
            answer.send(compare(key, image))
        except Exception:  # noqa: BLE001  the edge of this process
            answer.send(format_exc())

    child = get_context("fork").Process(target=work, args=(sending,))
    child.start()
    sending.close()
    try:
        return receiving.recv()
    except EOFError:
        return "crashed"
    finally:
        child.join()


def compare_mutants(seeds: Iterable[int], wanted: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        made = mutant(seed)
        how = compared_in_child(made.key, made.image)
        outcomes[how] += 1
        assert "Traceback" not in how, f"seed {seed}: {', '.join(made.mutations)}: {how}"
        if outcomes.total() == wanted:
            break
    print(dict(outcomes))
    return outcomes


def test_mutants_are_read_as_by_hdf5_alone():
    outcomes = compare_mutants(QUICK, len(QUICK))

    assert outcomes["read"] > len(QUICK) / 4


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
def test_new_mutants_are_too():
    compare_mutants(count(SystemRandom().randrange(1 << 60)), int(os.environ.get("MUTANTS", "1000")))


@pytest.mark.skipif(not any(map(Path.is_dir, CORPUS)), reason="../shared is absent")
def test_malformed_and_hostile_files_are_read_as_by_hdf5_alone():
    for path in sorted(path for folder in CORPUS for path in folder.rglob("*.h5")):
        key = path.name if FACILITY.file_name(path.name) else SNAPSHOT

        how = compared_in_child(key, path.read_bytes())

        assert "Traceback" not in how, f"{path}: {how}"
