"""The Python client on the running API, compared with what was stored behind it."""

import getpass
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

import shotwatch_client
from shotwatch_client import MissingRecords, NoData, NotAccepted, NotPermitted, ShotwatchClient
from shotwatch_client.address import base_of
from shotwatch_client.rest import Rest
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.pulses import instant
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import FeedbackAction

from .query_world import (
    ANOMALOUS,
    CAMERA,
    ENERGIES_FROM,
    EXPIRED,
    FIRST_PULSE,
    LA,
    LB,
    METER,
    MISSING,
    SHOTS,
    SPECTRO,
    UNREADABLE,
    World,
    disagreements,
    energies,
    pulses,
    raise_event,
    recorded,
    shot,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIRST = 300
"""Shots from here on have no events but those of this module."""
START, END = instant(FIRST_PULSE), instant(FIRST_PULSE + 100 * SHOTS)


def address(world: World) -> str:
    return str(world.api.base_url).removesuffix("/api/v1/")


@pytest.fixture
def client(world: World) -> Iterator[ShotwatchClient]:
    with shotwatch_client.connect(address(world), world.environment["SHOTWATCH_API_KEY"]) as client:
        yield client


# Shots.


async def test_shots_are_those_of_the_archive(world: World, client: ShotwatchClient) -> None:
    async with world.archive() as archive:
        stored = await archive.shots.page(ShotFilter(), FIRST_PULSE, FIRST_PULSE + 100 * SHOTS, 1000, False)
    found = client.shots(start=START, end=END).sort_values(["time", "shot"], ignore_index=True)
    assert found["shot"].tolist() == [each.id for each in stored]
    assert {shot(n, series) for n in range(SHOTS) for series in (LA, LB)} <= set(found["shot"])
    assert found["time"].tolist() == [pd.Timestamp(each.pulse, unit="ms", tz="UTC") for each in stored]
    assert found["place"].tolist() == [str(each.series.place) for each in stored]
    assert found["complete"].tolist() == [each.complete for each in stored]
    np.testing.assert_array_equal(
        found["score"], np.array([each.verdict.score for each in stored], dtype=np.float64)
    )
    assert found["kinds"].tolist() == [tuple(map(str, each.verdict.kinds)) for each in stored]


def test_each_filter_of_the_api_is_one_of_the_client(client: ShotwatchClient) -> None:
    def ids(**filters: Any) -> list[str]:
        return client.shots("LA", START, END, **filters)["shot"].tolist()

    everything = [shot(n) for n in range(SHOTS)]
    assert ids() == everything
    assert ids(min_score=9.5) == ids(kind="hot_spot") == [shot(ANOMALOUS)]
    assert ids(complete=False) == [shot(UNREADABLE), shot(MISSING)]
    assert ids(interval="1s") == []
    assert ids(newest=3) == everything[-3:]
    assert ids(complete=True, newest=50) == [each for each in everything if each not in ids(complete=False)]


def test_many_pages_are_one_table(client: ShotwatchClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = client.shots(start=START, end=END)
    monkeypatch.setattr("shotwatch_client.shot_list.PAGE", 3)
    pd.testing.assert_frame_equal(client.shots(start=START, end=END), whole)


def test_a_shot_has_its_members_features_and_anomalies(client: ShotwatchClient) -> None:
    found = client.shot(shot(ANOMALOUS))
    assert (found.shot, found.time) == (shot(ANOMALOUS), instant(pulses()[ANOMALOUS]))
    assert (found.score, found.kinds, found.complete) == (9.5, ("hot_spot",), True)
    assert found.members["device"].tolist() == [CAMERA, SPECTRO, METER]
    assert found.features.set_index(["device", "feature"]).loc[(CAMERA, "centroid_x"), "value"] == 63.5
    assert found.anomalies["kind"].tolist() == ["hot_spot"]
    incomplete = client.shot(shot(UNREADABLE)).members.set_index("device")
    assert incomplete.loc[CAMERA, "verdict"] == "wrong_shape: 101 x 128"
    with pytest.raises(NoData, match="there is no shot nothing"):
        client.shot("nothing")


# Frames, spectra, energies, features.


def test_frames_are_those_of_the_block(client: ShotwatchClient) -> None:
    frames, stored = client.frames(CAMERA, START, END), recorded()[CAMERA].arrays["image"]
    np.testing.assert_array_equal(frames[ANOMALOUS], stored[ANOMALOUS])
    assert len(frames) == SHOTS
    with pytest.warns(MissingRecords, match=f"1 of {SHOTS}.*could not be read"):
        found = frames[:]
    readable = np.arange(SHOTS) != UNREADABLE
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(np.asarray(found[readable]), stored[readable])
    assert found.mask[UNREADABLE].all()
    np.testing.assert_array_equal(frames[4:18:3], stored[4:18:3])
    np.testing.assert_array_equal(frames[-5:], stored[-5:])
    assert frames.shots()["shot"].tolist() == [shot(n) for n in range(SHOTS)]


def test_spectra_are_those_of_the_block(client: ShotwatchClient) -> None:
    found = client.spectra(SPECTRO, START, END)[2:9]
    np.testing.assert_array_equal(found, recorded()[SPECTRO].arrays["spectrum"][2:9])


def test_frames_whose_block_has_expired_are_an_error_with_the_reason(client: ShotwatchClient) -> None:
    with pytest.raises(NoData, match="has expired: put"):
        client.frames(EXPIRED, START, END)[:3]


def test_energies_and_features_are_those_that_were_measured(
    client: ShotwatchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = instant(ENERGIES_FROM), instant(ENERGIES_FROM + 20_000)
    found = client.energies(METER, start, end)
    np.testing.assert_array_equal(found["energy"], energies())
    assert np.flatnonzero(found["outlier"]).tolist() == [50, 100, 101, 102]
    assert found.index[0] == pd.Timestamp(start)
    monkeypatch.setattr("shotwatch_client.client.VALUES_AT_A_TIME", 26)
    series = client.series(METER, ["energy", "energy_disagreement"], start, end)
    np.testing.assert_array_equal(series["energy"], energies())
    np.testing.assert_array_equal(series["energy_disagreement"], disagreements())
    assert series.index.equals(found.index)
    nothing = client.series(METER, "energy", start - timedelta(days=1), end - timedelta(days=1))
    assert (len(nothing), list(nothing)) == (0, ["energy"])


def test_a_refusal_of_the_server_is_passed_on(world: World, client: ShotwatchClient) -> None:
    with pytest.raises(NotAccepted, match=r"feature\.0: .*no feature of this name"):
        client.series(METER, "beauty", START, END)
    with pytest.raises(NotAccepted, match="sigma_s: a meter that records every 100 ms"):
        client.energies(METER, START, END, sigma_s=1e6)
    with (
        shotwatch_client.connect(address(world), "no-such-key") as stranger,
        pytest.raises(NotPermitted, match="401"),
    ):
        stranger.places()


# The facility.


def test_places_devices_and_features_are_those_of_the_facility(world: World, client: ShotwatchClient) -> None:
    devices = client.devices().set_index("device")
    assert devices.loc[CAMERA, ["kind", "place", "interval"]].tolist() == ["Camera", "LA-A1-11", "100ms"]
    assert len(devices) == sum(len(each["devices"]) for each in world.get("/facility")["places"])
    assert "LA-A1-11" in client.places()["place"].tolist()
    features = client.features().set_index("feature")
    assert features["unit"].to_dict() == {name: spec.unit for name, spec in FEATURE_SPECS.items()}


def test_the_ledger_has_every_file_of_its_day(client: ShotwatchClient) -> None:
    found = client.ledger(datetime(2022, 7, 1, tzinfo=UTC).date())
    assert found.objects == 40
    present = {state: count for state, count in found.states.items() if count}
    assert present == dict.fromkeys(["ingested", "rejected", "ignored", "waiting"], 10)


# Events.


class Link:
    """A TCP proxy before the API, which a test can cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[socket.socket] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self.connections += 1
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self.copy, args=(source, target), daemon=True).start()

    @staticmethod
    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()


@contextmanager
def linked(world: World) -> Iterator[Link]:
    link = Link(world.api.base_url.port or 0)
    accepting = threading.Thread(target=link.accept, daemon=True)
    accepting.start()
    yield link
    link.listener.shutdown(socket.SHUT_RDWR)
    link.listener.close()
    link.cut()


async def test_events_are_followed_over_a_broken_connection(world: World) -> None:
    since = world.get("/events", latest=1)["last"]
    stored = [(await raise_event(world, FIRST + n)).data.sequence for n in range(2)]
    with linked(world) as link:
        rest = Rest(
            base_of(f"http://127.0.0.1:{link.port}"), world.environment["SHOTWATCH_API_KEY"], lambda _s: None
        )
        with ShotwatchClient(rest) as client:
            followed = client.events(since=since)
            assert [each.number for each in islice(followed, 2)] == stored
            live = (await raise_event(world, FIRST + 2)).data.sequence
            assert next(followed).number == live
            link.cut()
            missed = (await raise_event(world, FIRST + 3)).data.sequence
            assert next(followed).number == missed
            link.cut()
            new = await raise_event(world, FIRST + 4)
            found = next(followed)
            followed.close()  # type: ignore[attr-defined]
        assert link.connections >= 3
    assert (found.number, found.id, found.shot) == (new.data.sequence, new.id, new.data.shot)
    assert (found.time, found.place, found.kind) == (instant(new.data.time), "LA-A1-11", "hot_spot")
    assert found.document == new.model_dump(mode="json", by_alias=True)


async def test_stored_events_are_those_of_the_archive_with_each_filter(
    world: World, client: ShotwatchClient
) -> None:
    async with world.archive() as archive:
        last = await archive.events.last_number()
        stored = await archive.events.numbered(0, last)
    found = list(client.events(since=0, follow=False))
    assert [each.id for each in found] == [each.event.id for each in stored]
    assert list(client.events(since=0, follow=False, severity="info")) == []
    for area in ("LA", "LB"):
        there = [each.sequence for each in stored if str(each.event.data.place).startswith(area)]
        assert [each.number for each in client.events(since=0, follow=False, place=area)] == there


async def test_a_label_is_stored_as_a_statement(world: World, client: ShotwatchClient) -> None:
    event = await raise_event(world, FIRST + 10)
    (found,) = (each for each in client.events(since=0, follow=False) if each.id == event.id)
    client.label(found, "confirmed", "mirror 3", kind="pointing")
    client.label(event.id, "false", who="amelie")
    async with world.archive() as archive:
        stored = {each.action: each for each in await archive.feedback.of_incident(event.data.incident)}
    confirmed = stored.pop(FeedbackAction.CONFIRMED)
    assert (confirmed.label, confirmed.note) == ("pointing", "mirror 3")
    assert confirmed.who == getpass.getuser()
    assert [(each.action, each.who) for each in stored.values()] == [(FeedbackAction.FALSE, "amelie")]


async def test_who_may_only_read_gives_no_label(world: World) -> None:
    event = await raise_event(world, FIRST + 11)
    key = world.let_in("researcher", "read")["Authorization"].removeprefix("Bearer ")
    with shotwatch_client.connect(address(world), key) as reader:
        assert len(reader.shots("LA", START, END)) == SHOTS
        with pytest.raises(NotPermitted, match="label"):
            reader.label(event.id, "false")


# The guide.


@pytest.mark.parametrize(
    ("guide", "written"),
    [
        ("python-client.md", ["energies.png", "frames.png", "shot.nxs", "spots.h5", "trend.png"]),
        ("researchers.md", ["farthest.png", "frames.tiff", "shot.nxs", "wander.parquet", "wander.png"]),
    ],
)
def test_the_examples_of_the_guide_run_as_they_are_written(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, guide: str, written: list[str]
) -> None:
    """All in one namespace, as in a notebook, in a folder of their own. They describe this world."""
    blocks = MarkdownIt().parse((DOCS / guide).read_text(encoding="utf-8"))
    examples = [each.content for each in blocks if each.type == "fence" and each.info == "python"]
    assert len(examples) >= 8
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOTWATCH_API_KEY", world.environment["SHOTWATCH_API_KEY"])
    namespace: dict[str, Any] = {}
    for example in examples:
        code = re.sub(r"http://127\.0\.0\.1:\d+", address(world), example)
        exec(compile(code, guide, "exec"), namespace)
    assert sorted(path.name for path in tmp_path.iterdir()) == written
