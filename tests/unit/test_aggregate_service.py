"""The join at its edges, in memory: what one window does not take, the others do."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from shotwatch_aggregate.service import REMEMBERED_S, Aggregator
from shotwatch_common.facility_file import load_facility
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Bug, Reject
from shotwatch_shots.ledger import JoinFacts
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef, FileValidated, JudgedRecords, ObjectRef
from shotwatch_shots.window import Window

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
PLACE = ShotSeries.parse("LB-A2-00-1s")
START = 1_656_660_780_000
FIRST, SECOND = "LB-A2-00-1s-20220701T073300", "LB-A2-00-1s-20220701T073400"
METER = "LB_A2-EM_1-EnergyMeter-1"


class Windows:
    """Stored windows; those named in `broken` cannot be written."""

    def __init__(self) -> None:
        self.stored: dict[str, Window] = {}
        self.deadlines: dict[str, int] = {}
        self.broken: set[str] = set()

    async def load(self, window_id: str, _interval_of: object) -> Window | None:
        return self.stored.get(window_id)

    async def save(self, window: Window, deadline: int) -> bool:
        if window.id in self.broken:
            raise Bug(f"window {window.id} cannot be written: too large")
        self.stored[window.id] = window
        self.deadlines[window.id] = deadline
        return True

    async def of_file(self, _key: str) -> list[tuple[ShotSeries, int]]:
        return []

    async def overdue(self, _now_ms: int, besides: int) -> list[str]:
        assert besides <= len(self.broken)
        return sorted(id_ for id_, deadline in self.deadlines.items() if deadline)

    async def open(self) -> int:
        return 0

    async def remove_from_outbox(self, window_id: str, batch_id: str) -> None:
        window = self.stored[window_id]
        left = {id_: batch for id_, batch in window.outbox.items() if id_ != batch_id}
        self.stored[window_id] = replace(window, outbox=left)


class World:
    """An aggregator, and all that it does."""

    def __init__(self) -> None:
        self.windows, self.noted, self.sent = Windows(), {}, []
        archive = SimpleNamespace(
            windows=self.windows,
            ledger=SimpleNamespace(note_joined=self._note, overdue=self._nothing),
            devices=SimpleNamespace(saw=self._nothing),
            batches=SimpleNamespace(add=self._nothing),
            states_before=self._states_before,
        )
        context: Any = SimpleNamespace(
            facility=FACILITY,
            archive=archive,
            bus=SimpleNamespace(send=self._send, ready=self._yes),
            store=SimpleNamespace(list=self._empty),
            settings=SimpleNamespace(inbox_bucket="inbox"),
            tracer=trace.get_tracer("test"),
            log=structlog.get_logger(),
            servers_answer=self._yes,
        )
        self.aggregator = Aggregator(context)
        self.asked: list[tuple[Sequence[str], int]] = []
        self.on: set[str] = set()

    async def _states_before(self, devices: Sequence[str], time_ms: int) -> dict[str, str]:
        self.asked.append((sorted(devices), time_ms))
        return {device: "ON" if device in self.on else "STANDBY" for device in devices}

    async def _note(self, object_id: str, facts: JoinFacts) -> None:
        self.noted[object_id] = facts

    async def _send(self, _stage: str, message: ShotBatch) -> None:
        self.sent.append(message)

    async def _nothing(self, *_any: Any) -> list[Any]:
        return []

    async def _yes(self) -> bool:
        return True

    async def _empty(self, _bucket: str) -> Any:
        for nothing in ():
            yield nothing


def file(name: str, times: list[int], devices: Sequence[str] = (METER,)) -> FileValidated:
    obj = ObjectRef(object_id=name, bucket="b", key=name, etag="e", size=1, arrived_at=1)
    judged = [
        JudgedRecords(
            device=device,
            kind=DeviceKind.ENERGY_METER,
            series=PLACE,
            block=BlockRef(bucket="blocks", key=device, object_id=name, object_key=name),
            times=times,
            states=["ON"],
            state=[0] * len(times),
            reasons=[],
            verdict=[0] * len(times),
        )
        for device in devices
    ]
    return FileValidated(object=obj, devices=judged)


async def test_a_window_that_cannot_be_written_fails_its_file_by_name_and_the_others_have_theirs() -> None:
    world = World()
    world.windows.broken.add(FIRST)
    with pytest.raises(Bug, match=FIRST):
        await world.aggregator.join(file("a.h5", [START, START + 60_000]))
    assert list(world.windows.stored) == [SECOND]
    assert not world.noted


@pytest.mark.parametrize(("windows", "joined"), [(20, 20), (21, 0)])
async def test_a_file_with_records_in_more_windows_than_ingest_reads_is_not_joined(
    monkeypatch: pytest.MonkeyPatch, windows: int, joined: int
) -> None:
    monkeypatch.setattr("shotwatch_aggregate.domain.split.MOST_WINDOWS", 20)
    world = World()
    with pytest.raises(Reject, match=f"a.h5: has records in {windows}") if not joined else nullcontext():
        await world.aggregator.join(file("a.h5", [START + 60_000 * n for n in range(windows)]))
    assert len(world.windows.stored) == joined


async def test_a_window_that_was_deleted_and_began_again_is_not_mistaken_for_the_one_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica, other = World(), World()
    await replica.aggregator.join(file("deleted.h5", [START]))
    replica.windows.stored.clear()
    other.windows = other.aggregator._windows = replica.windows
    await other.aggregator.join(file("first.h5", [START]))
    now = monotonic()
    monkeypatch.setattr("shotwatch_aggregate.service.monotonic", lambda: now + REMEMBERED_S)
    await replica.aggregator.join(file("second.h5", [START + 1000]))
    sources = replica.windows.stored[FIRST].devices[METER].sources
    assert [source.block.object_key for source in sources] == ["first.h5", "second.h5"]


async def test_a_file_without_room_in_a_window_is_joined_elsewhere_and_its_records_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    full, other = METER, "LB_A2-EM_2-EnergyMeter-2"
    for n in range(3):
        await world.aggregator.join(file(f"{n}.h5", [START + 1000 * n, START + 1000 * n + 10_000]))
    monkeypatch.setattr("shotwatch_aggregate.domain.join.MOST_SOURCE_BYTES", 1200)  # of three files
    await world.aggregator.join(file("one more.h5", [START + 30_000, START + 60_000], [full, other]))
    first, second = world.windows.stored[FIRST].devices, world.windows.stored[SECOND].devices
    assert [source.block.object_key for source in first[full].sources] == ["0.h5", "1.h5", "2.h5"]
    for columns in (first[other], second[full], second[other]):
        assert [source.block.object_key for source in columns.sources] == ["one more.h5"]
    assert world.noted["one more.h5"].no_room == 1


async def test_records_of_too_many_unexpected_devices_are_counted_and_not_joined() -> None:
    world = World()
    made_up = [f"LB_A2-EM_{n}-EnergyMeter-{n}" for n in range(100, 1000)]
    await world.aggregator.join(file("evil.h5", [START, START + 1000], made_up))
    await world.aggregator.join(file("honest.h5", [START, START + 1000]))
    assert [*world.windows.stored[FIRST].devices] == [*made_up[:16], METER]
    assert world.noted["evil.h5"].unexpected == 2 * (900 - 16)
    assert world.noted["honest.h5"].unexpected == 0


async def test_a_window_that_cannot_be_closed_is_left_alone_and_the_next_one_is_closed() -> None:
    world = World()
    await world.aggregator.join(file("a.h5", [START]))
    await world.aggregator.join(file("b.h5", [START + 60_000]))
    world.windows.deadlines = dict.fromkeys(world.windows.stored, 1)
    world.windows.broken.add(FIRST)
    await world.aggregator.close_overdue()
    assert [message.window_id for message in world.sent] == [SECOND]
    await world.aggregator.close_overdue()
    assert len(world.sent) == 1


async def test_a_missing_device_was_on_if_it_was_when_the_window_began() -> None:
    world = World()
    missing, off = "LB_A2-EM_2-EnergyMeter-2", "LB_A2-Camera_1-Camera-1"
    world.on = {missing}
    await world.aggregator.join(file("a.h5", [START, START + 1000]))
    world.windows.deadlines[FIRST] = 1
    await world.aggregator.close_overdue()
    ((asked, time_ms),) = world.asked
    assert time_ms == START
    assert METER not in asked
    (message,) = world.sent
    on = {member.device: member.on.tolist() for member in message.members}
    assert (on[METER], on[missing], on[off]) == ([True, True], [True, True], [False, False])
