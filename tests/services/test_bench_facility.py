"""How the bench of the whole facility uploads, on an object store in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest

from shotwatch_cli.output import LiteralConsole
from shotwatch_cli.uploads import planned_uploads
from tests.support.world import World
from tools.bench import facility as bench

MINUTES = (("a.h5", "b.h5"), ("c.h5", "d.h5"))


@dataclass
class ScriptedRun(bench.FacilityRun):
    """A run in which a given number of files waits at each question, and which notes the inbox then."""

    files_waiting: Iterator[int] = field(kw_only=True)
    inbox_then: list[str] = field(kw_only=True)

    async def waiting(self) -> tuple[int, int]:
        self.inbox_then.append("".join([found.key[0] async for found in self.store.list(self.inbox)]))
        return next(self.files_waiting), 0


async def test_at_the_pace_max_a_minute_is_uploaded_once_fewer_files_wait_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "POLL_S", 0.0)
    world, seen = World(), list[str]()
    run = ScriptedRun(
        world.objects,
        world.archive,
        "inbox",
        LiteralConsole(quiet=True),
        files_waiting=iter([2, 3, 2, 1, 4]),
        inbox_then=seen,
    )
    for name in (name for minute in MINUTES for name in minute):
        (tmp_path / name).write_bytes(name.encode())
    minutes = [
        bench.FacilityMinute(60_000 * n, 1, planned_uploads(tmp_path / name for name in names))
        for n, names in enumerate(MINUTES)
    ]
    uploaded = await run.upload(minutes, inf)
    assert seen == ["ab", "ab", "ab", "ab", "abcd"], "nothing of the second minute while 3 or 2 files waited"
    assert [sorted(minute.arrived) for minute in uploaded] == [list(names) for names in MINUTES]
    assert [minute.size for minute in uploaded] == [8, 8]
    assert all(minute.began <= min(minute.arrived.values()) <= minute.ended for minute in uploaded)
