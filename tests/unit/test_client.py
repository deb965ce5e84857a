"""The Python client against a server that a test answers for, over real sockets."""

import io
import json
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shotwatch_client
from shotwatch_client import (
    Event,
    EventsReset,
    InvalidArgument,
    MissingRecords,
    NoData,
    NotAccepted,
    NotPermitted,
    NotReachable,
    ShotwatchClient,
    UnexpectedAnswer,
    connect,
)
from shotwatch_client.address import base_of, key_of
from shotwatch_client.arrays import read_npy, read_npz
from shotwatch_client.events import LONGEST_LINE_BYTES, messages
from shotwatch_client.rest import AT_ONCE, ATTEMPTS, LONGEST_PAUSE_S, MOST_JSON_BYTES, Rest
from shotwatch_client.times import epoch_ms

CAMERA, SPECTRO, METER = "LA-Camera-1", "LA-Spectro-1", "LA-Meter-1"
START = datetime(2022, 7, 1, 7, 33, tzinfo=UTC)
START_MS = 1_656_660_780_000
END = START + timedelta(seconds=10)


class Asked:
    """A request as the server got it."""

    def __init__(self, method: str, target: str, headers: Any, body: bytes) -> None:
        parts = urlsplit(target)
        self.method, self.path, self.headers = method, parts.path.removeprefix("/api/v1"), headers
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.body = json.loads(body) if body else None


class Reply:
    """An answer; `cut` ends the connection after the body, which is less than was announced."""

    def __init__(self, body: Any = b"", status: int = 200, cut: bool = False, **headers: str) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.cut, self.headers = status, cut, headers


class Server:
    """A REST API of one test; `asked` are the requests so far."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer, self.url, self.pauses = answer, "", list[float]()
        self.asked: list[Asked] = []

    def client(self, key: str | None = "secret") -> ShotwatchClient:
        """A client whose pauses are noted and take no time."""
        return ShotwatchClient(Rest(base_of(self.url), key, self.pauses.append))


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Server]:
    shown = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = Asked(self.command, self.path, self.headers, self.rfile.read(length))
            shown.asked.append(asked)
            reply = shown.answer(asked)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(reply.body) + reply.cut))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.cut

        do_GET = do_POST = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        shown.url = f"http://127.0.0.1:{server.server_port}"
        yield shown
        server.shutdown()
        thread.join()


def turns(*reply: Reply) -> Callable[[Asked], Reply]:
    """One answer after the other; the last one repeatedly."""
    coming = iter(reply)
    last = reply[-1]
    return lambda _asked: next(coming, last)


FACILITY = {
    "intervals": [{"name": "100ms", "period_ms": 100}],
    "places": [
        {
            "place": "LA",
            "interval": "100ms",
            "devices": [
                {"device": CAMERA, "kind": "Camera"},
                {"device": SPECTRO, "kind": "Spectro"},
                {"device": METER, "kind": "EnergyMeter"},
            ],
        }
    ],
}
FEATURES = {
    "features": [
        {"name": "energy", "unit": "J", "description": "d", "source": "", "measured_on": "every shot"}
    ]
}


def shot(n: int, **more: Any) -> dict[str, Any]:
    time = START + timedelta(milliseconds=100 * n)
    return {
        "id": f"shot-{n:04}",
        "time": time.isoformat(),
        "place": "LA",
        "interval": "100ms",
        "revision": 1,
        "complete": True,
        "missing": [],
        "score": 1.5,
        "threshold": 5.0,
        "kinds": [],
        "severity": None,
        **more,
    }


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# The address and the key.


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1",
        "http://h:1/",
        "http://h:1/api/v1",
        "http://h:1/api/v1/",
        "http://h:1/#token=abc",
        " http://h:1\n",
    ],
)
def test_every_address_that_the_command_line_prints_leads_to_the_same_routes(url: str) -> None:
    assert base_of(url) == "http://h:1/api/v1"


def test_a_server_behind_a_path_keeps_it() -> None:
    assert base_of("https://lab.example/shotwatch/") == "https://lab.example/shotwatch/api/v1"


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://h", "http://", "https://user:secret@h/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^url: ") as refused:
        base_of(url)
    assert "secret" not in str(refused.value)


def test_the_key_is_the_argument_then_the_token_then_the_variable_then_the_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("in-file\n")
    by_file = {"SHOTWATCH_API_KEY_FILE": str(file)}
    by_variable = by_file | {"SHOTWATCH_API_KEY": "in-variable"}
    assert key_of("given", "http://h/#token=in-url", by_variable) == "given"
    assert key_of(None, "http://h/#token=in-url", by_variable) == "in-url"
    assert key_of(None, "http://h", by_variable) == "in-variable"
    assert key_of(None, "http://h", by_file) == "in-file"
    assert key_of(None, "http://h", {}) is None


def test_a_key_that_cannot_be_one_is_refused_and_not_shown(tmp_path: Path) -> None:
    for key in ("one blank", "line\n", "schlüssel"):
        with pytest.raises(InvalidArgument, match=r"^key: ") as refused:
            key_of(key, "http://h", {})
        assert key not in str(refused.value)
    with pytest.raises(InvalidArgument, match="SHOTWATCH_API_KEY_FILE: cannot read"):
        key_of(None, "http://h", {"SHOTWATCH_API_KEY_FILE": str(tmp_path / "absent")})


def test_the_key_is_shown_to_the_server_alone() -> None:
    with (
        serving(turns(Reply(FEATURES), Reply(status=401))) as server,
        connect(server.url, "s3cret") as client,
    ):
        client.features()
        with pytest.raises(NotPermitted) as refused:
            client.features()
    assert server.asked[0].headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(refused.value) + repr(client)


# Times.


def test_times_are_sent_as_epoch_milliseconds_and_parts_of_one_are_rounded_up() -> None:
    assert epoch_ms("2022-07-01T07:33:00Z", "start") == START_MS
    assert epoch_ms("2022-07-01T09:33:00+02:00", "start") == START_MS
    assert epoch_ms(START + timedelta(microseconds=1), "start") == START_MS + 1
    assert epoch_ms(pd.Timestamp(START_MS, unit="ms", tz="UTC"), "start") == START_MS
    assert epoch_ms(datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC), "start") == 0


@pytest.mark.parametrize("value", [datetime(2022, 7, 1), "2022-07-01", "soon", 7, None, pd.NaT])  # noqa: DTZ001
def test_what_is_no_time_with_a_zone_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"^start: "):
        epoch_ms(value, "start")


def test_a_span_ends_after_it_begins() -> None:
    with (
        serving(turns(Reply(FACILITY))) as server,
        server.client() as client,
        pytest.raises(InvalidArgument, match="is not after"),
    ):
        client.series(CAMERA, "energy", END, START)
    assert server.asked == []


# Requests that fail.


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_after_as_long_as_it_wants(status: int) -> None:
    busy = Reply({"detail": "wait"}, status, Retry_After="7")
    with serving(turns(busy, busy, Reply(FEATURES))) as server, server.client() as client:
        assert list(client.features().feature) == ["energy"]
    assert (len(server.asked), server.pauses) == (3, [7, 7])


def test_without_a_wish_of_the_server_each_pause_is_twice_as_long_and_there_is_an_end() -> None:
    with (
        serving(turns(Reply({"detail": "the database is away"}, 503))) as server,
        server.client() as client,
        pytest.raises(NotReachable, match=r"GET /features: 503 .*the database is away.*doctor"),
    ):
        client.features()
    assert (len(server.asked), server.pauses) == (ATTEMPTS, [1, 2, 4, 8, 16])


def test_a_pause_that_is_too_long_is_an_error_at_once() -> None:
    long = Reply({"detail": "wait"}, 429, Retry_After=str(int(LONGEST_PAUSE_S) + 1))
    with serving(turns(long)) as server, server.client() as client, pytest.raises(NotReachable, match="429"):
        client.features()
    assert (len(server.asked), server.pauses) == (1, [])


def test_a_connection_that_breaks_inside_an_answer_is_tried_again() -> None:
    with serving(turns(Reply(b'{"feat', cut=True), Reply(FEATURES))) as server, server.client() as client:
        assert list(client.features().unit) == ["J"]
    assert server.pauses == [1]


def test_a_server_that_is_not_there_is_named() -> None:
    pauses: list[float] = []
    with (
        ShotwatchClient(Rest(base_of("http://127.0.0.1:1"), None, pauses.append)) as client,
        pytest.raises(NotReachable, match=r"http://127.0.0.1:1/api/v1/ does not answer.*shotwatch status"),
    ):
        client.places()
    assert len(pauses) == ATTEMPTS - 1


def test_a_label_is_sent_once_whatever_happens() -> None:
    for reply in (Reply(status=503), Reply(b"{", cut=True)):
        with serving(turns(reply)) as server, server.client() as client:
            with pytest.raises(NotReachable):
                client.label("event", "false", who="me")
            assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NotPermitted), (403, NotPermitted), (404, NoData), (409, NotAccepted), (422, NotAccepted)],
)
def test_a_refusal_has_its_kind_and_the_servers_words_and_is_not_repeated(
    status: int, kind: type[Exception]
) -> None:
    problem = {
        "detail": "the request has a value that is not valid",
        "mistakes": [{"where": "query.kind", "what": "bad"}],
    }
    with (
        serving(turns(Reply(problem, status))) as server,
        server.client() as client,
        pytest.raises(
            kind, match=r"GET /shots/x: .*the request has a value that is not valid; query.kind: bad"
        ),
    ):
        client.shot("x")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>"),
        Reply([]),
        Reply({}),
        Reply({"features": 7}),
        Reply({"features": [7]}),
        Reply({"features": [{}]}),
        Reply({"features": [{**FEATURES["features"][0], "unit": 7}]}),
        Reply({"features": [{**FEATURES["features"][0], "unit": None}]}),
        Reply(b"[" * 100_000),
        Reply(status=500),
        Reply(status=302, Location="http://127.0.0.1:1/"),
        Reply(b" " * (MOST_JSON_BYTES + 1)),
    ],
)
def test_an_answer_that_is_not_of_this_api_is_a_clear_error(reply: Reply) -> None:
    with (
        serving(turns(reply)) as server,
        server.client() as client,
        pytest.raises(UnexpectedAnswer, match=r"^GET /features: "),
    ):
        client.features()
    assert len(server.asked) == 1


def test_no_more_than_four_requests_run_at_a_time() -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(AT_ONCE)

    def answer(asked: Asked) -> Reply:
        nonlocal running, most
        if asked.path == "/facility":
            return Reply(FACILITY)
        if asked.path == "/shots":
            return Reply({"shots": [shot(n) for n in range(16)], "next": None})
        with lock:
            running += 1
            most = max(most, running)
        together.wait(20)  # so many at least
        with lock:
            running -= 1
        return Reply(npy(np.ones(4, np.float32)))

    with serving(answer) as server, server.client() as client:
        assert client.spectra(SPECTRO, START, END)[:].shape == (16, 4)
    assert most == AT_ONCE


# Shots.


def test_pages_become_one_table_in_the_order_of_time() -> None:
    newest = {"shots": [shot(n, score=None, kinds=["energy"]) for n in (4, 3)], "next": "c1"}
    empty, oldest = {"shots": [], "next": "c2"}, {"shots": [shot(n) for n in (2, 1)], "next": None}
    with serving(turns(Reply(newest), Reply(empty), Reply(oldest))) as server, server.client() as client:
        found = client.shots("LA", START, END, kind="energy", min_score=2, complete=False, interval="100ms")
    assert list(found.shot) == [f"shot-{n:04}" for n in (1, 2, 3, 4)]
    assert [each.query.get("cursor") for each in server.asked] == [None, "c1", "c2"]
    assert server.asked[0].query == {
        "place": "LA",
        "from": str(START_MS),
        "to": str(START_MS + 10_000),
        "interval": "100ms",
        "kind": "energy",
        "min_score": "2",
        "complete": "false",
        "limit": "1000",
    }
    assert str(found.time.dtype) == "datetime64[ms, UTC]"
    assert found.time[0] == pd.Timestamp(shot(1)["time"])
    assert list(found.kinds) == [(), (), ("energy",), ("energy",)]
    assert found.score.isna().tolist() == [False, False, True, True]


def test_a_table_without_shots_has_the_same_columns_and_types() -> None:
    pages = Reply({"shots": [shot(1)], "next": None}), Reply({"shots": [], "next": None})
    with serving(turns(*pages)) as server, server.client() as client:
        some, none = client.shots(), client.shots()
    assert len(none) == 0
    pd.testing.assert_series_equal(none.dtypes, some.dtypes)


def arrow(shots: list[str], following: str | None = None) -> Reply:
    """A page of the table of a place."""
    times = pa.array([START] * len(shots), pa.timestamp("ns", "UTC"))
    kinds = pa.array([["energy"], None][: len(shots)] + [[]] * (len(shots) - 2), pa.list_(pa.string()))
    complete = pa.array([None] * len(shots), pa.bool_())
    energy = pa.field("meter.energy", pa.float32(), metadata={"unit": "J"})
    fields = [
        ("shot", pa.string()),
        ("time", times.type),
        ("kinds", kinds.type),
        ("complete", complete.type),
        energy,
    ]
    schema = pa.schema(fields, {"next": following} if following else None)
    energies = pa.array([None] * len(shots), pa.float32())
    table = pa.table([pa.array(shots, pa.string()), times, kinds, complete, energies], schema=schema)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table)
    return Reply(sink.getvalue())


def test_shots_by_value_are_the_pages_of_an_arrow_stream() -> None:
    with (
        serving(turns(arrow(["a", "b"], "c1"), arrow([], "c2"), arrow(["c"]))) as server,
        server.client() as client,
    ):
        found = client.shots("LA", START, END, where="score > 4", columns=["meter.energy"], interval="1s")
    assert found.shot.tolist() == ["a", "b", "c"]
    assert found.time.tolist() == [pd.Timestamp(START)] * 3
    assert found.kinds.tolist() == [("energy",), (), ("energy",)]
    assert found.complete.isna().all()
    assert found["meter.energy"].isna().all()
    assert found.attrs["units"] == {"meter.energy": "J"}
    assert [each.query.get("cursor") for each in server.asked] == [None, "c1", "c2"]
    assert server.asked[0].path == "/tables/shots"
    assert server.asked[0].query == {
        "place": "LA",
        "interval": "1s",
        "from": str(START_MS),
        "to": str(START_MS + 10_000),
        "where": "score > 4",
        "columns": "meter.energy",
        "limit": "100000",
        "format": "arrow",
    }


def test_an_answer_that_is_no_arrow_stream_is_reported() -> None:
    whole = arrow(["abc", "defgh"]).body
    outside = whole.replace(struct.pack("<3i", 0, 3, 8), struct.pack("<3i", 0, 3, 2**30))
    assert outside != whole
    for body in (b"", b"{}", whole[: len(whole) // 2], b"\xff" * 100, outside):
        with (
            serving(turns(Reply(body))) as server,
            server.client() as client,
            pytest.raises(UnexpectedAnswer),
        ):
            client.shots("LA", START, END, where="true")


def test_more_than_a_million_shots_by_value_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotwatch_client.shot_tables.MOST_SHOTS", 3)
    endless = turns(*[arrow(["a", "b"], "more")] * 5)
    with (
        serving(endless) as server,
        server.client() as client,
        pytest.raises(InvalidArgument, match="Narrow"),
    ):
        client.shots("LA", START, END, where="true")
    assert len(server.asked) == 2


def test_the_newest_shots_take_no_more_pages_than_they_need() -> None:
    page = {"shots": [shot(n) for n in (5, 4, 3)], "next": "more"}
    with serving(turns(Reply(page))) as server, server.client() as client:
        assert list(client.shots(newest=2).shot) == ["shot-0004", "shot-0005"]
        with pytest.raises(InvalidArgument, match="newest"):
            client.shots(newest=0)
    assert [each.query["limit"] for each in server.asked] == ["2"]


@pytest.mark.parametrize("asked", ["shots", "shots by value", "events"])
def test_a_server_whose_pages_are_empty_for_ever_is_left(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr("shotwatch_client.pages.MOST_EMPTY_PAGES", 5)
    empty = {
        "shots": Reply({"shots": [], "next": "more"}),
        "shots by value": arrow([], "more"),
        "events": Reply({"events": [], "last": 1, "more": True, "reset": False}),
    }
    with serving(turns(empty[asked])) as server, server.client() as client:
        ask = {
            "shots": lambda: client.shots("LA", START, END),
            "shots by value": lambda: client.shots("LA", START, END, where="true"),
            "events": lambda: list(client.events(since=0, follow=False)),
        }
        with pytest.raises(UnexpectedAnswer, match="pages have no rows"):
            ask[asked]()
    assert len(server.asked) == 6


# Frames and spectra.

FRAMES = np.arange(30 * 2 * 3, dtype=np.uint16).reshape(30, 2, 3)


class Camera:
    """A server with thirty shots, of which some have no frame, or one that is not valid."""

    def __init__(self, without: frozenset[int] = frozenset(), refused: frozenset[int] = frozenset()) -> None:
        self.without, self.refused = without, refused

    def __call__(self, asked: Asked) -> Reply:
        match asked.path.split("/")[1:]:
            case ["facility"]:
                return Reply(FACILITY)
            case ["shots"]:
                first, limit = int(asked.query.get("cursor", 0)), min(int(asked.query["limit"]), 10)
                assert asked.query["order"] == "oldest"
                following = first + limit
                page = [shot(n) for n in range(first, min(following, 30))]
                return Reply({"shots": page, "next": str(following) if following < 30 else None})
            case ["devices", device, "frames"]:
                assert device == CAMERA
                upto = -(-(int(asked.query["to"]) - START_MS) // 100)
                shots = range(max(upto - int(asked.query["shots"]), 0), upto)
                valid = [n for n in shots if n not in self.without | self.refused]
                if not valid:
                    return Reply({"detail": "no valid frame"}, 404)
                file = io.BytesIO()
                np.savez(file, shots=np.array([f"shot-{n:04}" for n in valid]), frames=FRAMES[valid])
                return Reply(file.getvalue())
            case ["shots", named, "devices", _, "image" | "spectrum"]:
                n = int(named[5:])
                if n in self.without:
                    return Reply({"detail": f"there is no record in {named}"}, 404)
                return Reply(
                    npy(FRAMES[n] if "image" in asked.path else FRAMES[n].astype(np.float32).ravel())
                )
        raise AssertionError(asked.path)


def paths(server: Server) -> list[str]:
    return [each.path.rpartition("/")[2] for each in server.asked]


@pytest.mark.parametrize(
    "which",
    [
        slice(0, 5),
        slice(3, 7),
        slice(None),
        slice(-4, None),
        slice(2, -3),
        slice(0, 30, 7),
        slice(None, None, -1),
        slice(28, 99),
    ],
)
def test_a_slice_is_that_of_all_frames(which: slice) -> None:
    with serving(Camera()) as server, server.client() as client:
        frames = client.frames(CAMERA, START, END)
        found = frames[which]
        np.testing.assert_array_equal(found, FRAMES[which])
        assert (found.dtype, found.mask is np.ma.nomask) == (np.uint16, True)
        assert list(frames.shots(which).shot) == [f"shot-{n:04}" for n in range(30)][which]


def test_nothing_is_read_before_it_is_asked_for_and_then_no_more() -> None:
    with serving(Camera()) as server, server.client() as client:
        frames = client.frames(CAMERA, START, END)
        assert paths(server) == ["facility"]
        frames[3:5]
        assert paths(server) == ["facility", "shots", "frames", "frames"]  # one page of shots of three
        first, second = server.asked[2:]
        assert [(each.query["shots"], each.query["to"]) for each in (first, second)] == [
            ("1", str(START_MS + 301)),
            ("1", str(START_MS + 401)),
        ]
        assert len(frames) == 30
        assert paths(server)[4:] == ["shots", "shots"]


def test_a_position_is_one_frame_and_beyond_the_end_there_is_none() -> None:
    with serving(Camera(without=frozenset({2}))) as server, server.client() as client:
        frames = client.frames(CAMERA, START, END)
        np.testing.assert_array_equal(frames[7], FRAMES[7])
        np.testing.assert_array_equal(frames[-1], FRAMES[-1])
        for beyond in (30, -31):
            with pytest.raises(IndexError):
                frames[beyond]
        with pytest.raises(NoData, match="there is no record in shot-0002"):
            frames[2]


def test_what_has_no_record_is_masked_and_what_was_refused_is_there() -> None:
    camera = Camera(without=frozenset({0, 4}), refused=frozenset({6}))
    with serving(camera) as server, server.client() as client:
        frames = client.frames(CAMERA, START, END)
        with pytest.warns(MissingRecords, match=r"2 of 10 .* no record in shot-0000"):
            found = frames[:10]
    present = [n for n in range(10) if n not in (0, 4)]
    np.testing.assert_array_equal(np.asarray(found[present]), FRAMES[present])
    assert found.mask[[0, 4]].all()
    assert not found.mask[present].any()
    np.testing.assert_allclose(found.mean(axis=0), FRAMES[present].mean(axis=0))


def test_a_slice_without_any_record_is_an_error_with_the_reason() -> None:
    with serving(Camera(without=frozenset(range(30)))) as server, server.client() as client:
        with pytest.raises(NoData, match="there is no record in shot-0000"):
            client.frames(CAMERA, START, END)[:20]
        with pytest.raises(NoData, match="no shot"):
            client.frames(CAMERA, START, END)[5:5]


def test_spectra_are_read_one_by_one() -> None:
    with serving(Camera()) as server, server.client() as client:
        found = client.spectra(SPECTRO, START, END)[4:8]
    np.testing.assert_array_equal(found, FRAMES[4:8].reshape(4, 6).astype(np.float32))
    assert found.dtype == np.float32
    assert sorted(paths(server)[2:]) == ["spectrum"] * 4


def test_the_shots_of_a_place_within_the_place_are_left_out() -> None:
    def answer(asked: Asked) -> Reply:
        inner = {"shots": [shot(1), shot(1, id="inner", place="LA-A1"), shot(2)], "next": None}
        return Reply(FACILITY if asked.path == "/facility" else inner)

    with serving(answer) as server, server.client() as client:
        assert list(client.spectra(SPECTRO, START, END).shots().shot) == ["shot-0001", "shot-0002"]


def test_a_device_of_another_kind_or_name_is_refused_and_similar_names_are_shown() -> None:
    with serving(turns(Reply(FACILITY))) as server, server.client() as client:
        with pytest.raises(InvalidArgument, match="is of the kind Spectro, not Camera"):
            client.frames(SPECTRO, START, END)
        with pytest.raises(NoData, match=f"Similar names: {CAMERA}"):
            client.frames("LA-Camera-7", START, END)
    assert len(server.asked) == 1


def test_a_slice_that_does_not_fit_is_refused_before_it_is_read() -> None:
    large = np.zeros((4000, 4000), np.uint16)

    def answer(asked: Asked) -> Reply:
        if asked.path == "/facility":
            return Reply(FACILITY)
        if asked.path == "/shots":
            return Reply({"shots": [shot(n) for n in range(100)], "next": None})
        file = io.BytesIO()
        np.savez(file, shots=np.array(["shot-0000"]), frames=large[None])
        return Reply(file.getvalue())

    with (
        serving(answer) as server,
        server.client() as client,
        pytest.raises(InvalidArgument, match=r"100 arrays of 32,000,000 bytes are too many.*at most 67"),
    ):
        client.frames(CAMERA, START, END)[:]
    assert paths(server) == ["facility", "shots", "frames"]


def test_frames_of_unequal_shapes_are_an_error() -> None:
    def answer(asked: Asked) -> Reply:
        if "/devices/" in asked.path:
            return Reply(npy(np.zeros(3 if "0001" in asked.path else 4, np.float32)))
        return Camera()(asked)

    with serving(answer) as server, server.client() as client, pytest.raises(UnexpectedAnswer, match="like"):
        client.spectra(SPECTRO, START, END)[:3]


def test_an_array_larger_than_the_ones_before_is_not_read_to_its_end() -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/frames") and asked.query["shots"] != "1":
            return Reply(b"PK" + b"x" * 10_000_000)
        return Camera()(asked)

    with (
        serving(answer) as server,
        server.client() as client,
        pytest.raises(UnexpectedAnswer, match=r"more than the .* bytes asked for"),
    ):
        client.frames(CAMERA, START, END)[:]


# NumPy files.


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 4)),
        np.float32(7),
    ],
)
def test_an_array_is_the_one_that_was_saved(array: Any) -> None:
    found = read_npy(npy(array))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def lying(shape: str, descr: str = "<u2") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy(np.arange(5))[:-1],
        npy(np.arange(5)) + b"x",
        lying("(1000000000000, 1000000)"),
        lying("(-1,)") + b"ab",
        lying("(1,)", "|O") + b"12345678",
        b"\x93NUMPY\x02\x00" + b"\0" * 20,
    ],
)
def test_a_file_that_is_not_what_it_states_is_refused_without_memory_for_it(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_npy(data)


def test_an_archive_is_not_unpacked_beyond_its_size() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, shots=np.zeros(10_000_000, np.uint8))
    assert len(file.getvalue()) < 100_000
    with pytest.raises(ValueError, match="larger than what was asked for"):
        read_npz(file.getvalue(), ("shots",), 100_000)
    for broken in (b"", b"PK", file.getvalue()[:50]):
        with pytest.raises(ValueError, match="not an archive"):
            read_npz(broken, ("shots",), 10**9)
    with pytest.raises(ValueError, match="frames"):
        read_npz(file.getvalue(), ("frames",), 10**9)


# Columns.


def columns(asked: Asked) -> Reply:
    """A value every 100 ms within the span: the number of its shot."""
    if asked.path == "/facility":
        return Reply(FACILITY)
    first, last = (-(-(int(asked.query[name]) - START_MS) // 100) for name in ("from", "to"))
    table = np.empty(
        last - first, [("time", "<M8[ms]"), ("energy", "<f8"), ("smoothed", "<f8"), ("outlier", "?")]
    )
    table["time"] = START_MS + 100 * np.arange(first, last)
    table["energy"] = np.arange(first, last)
    table["smoothed"], table["outlier"] = 1.0, False
    return Reply(npy(table if asked.path.endswith("/energy") else table[["time", "energy"]].copy()))


def test_a_long_series_is_read_in_parts_that_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotwatch_client.client.VALUES_AT_A_TIME", 30)
    with serving(columns) as server, server.client() as client:
        found = client.series(METER, "energy", START + timedelta(milliseconds=50), END)
    assert len(server.asked) == 1 + 4
    assert found.energy.tolist() == list(range(1, 100))
    assert found.index[0] == pd.Timestamp(START + timedelta(milliseconds=100))
    assert str(found.index.tz) == "UTC"
    assert found.index.is_monotonic_increasing


def test_energies_are_one_answer() -> None:
    with serving(columns) as server, server.client() as client:
        found = client.energies(METER, START, END, sigma_s=3)
    assert list(found) == ["energy", "smoothed", "outlier"]
    assert (found.dtypes["outlier"], len(found)) == (np.bool_, 100)
    assert server.asked[-1].query["sigma_s"] == "3"


def test_columns_with_more_values_than_the_span_can_have_are_refused() -> None:
    def answer(asked: Asked) -> Reply:
        asked.query["to"] = str(int(asked.query.get("to", 0)) + 1_000_000)
        return columns(asked)

    with (
        serving(answer) as server,
        server.client() as client,
        pytest.raises(UnexpectedAnswer, match="more than the"),
    ):
        client.series(METER, "energy", START, END)


def test_columns_without_the_feature_are_a_clear_error() -> None:
    with (
        serving(columns) as server,
        server.client() as client,
        pytest.raises(UnexpectedAnswer, match="the columns are not readable"),
    ):
        client.series(METER, "centroid_x", START, END)


def test_more_values_than_fit_are_refused_without_a_request() -> None:
    with serving(turns(Reply(FACILITY))) as server, server.client() as client:
        with pytest.raises(InvalidArgument, match="more than 100,000,000 values"):
            client.series(METER, "energy", START, START + timedelta(days=365))
        with pytest.raises(InvalidArgument, match="features: none"):
            client.series(METER, [], START, END)
    assert len(server.asked) == 1


# Events.


def event(n: int, **more: Any) -> dict[str, Any]:
    about = {
        "sequence": n,
        "shot": "shot-1",
        "time": START_MS,
        "place": "LA",
        "interval": "100ms",
        "kind": "hot_spot",
        "severity": "critical",
        "devices": [CAMERA],
        "score": 9.5,
        "threshold": 5.0,
        "provisional": True,
        "why": "a hot spot",
        "incident": "i",
        "phase": "opened",
        "since": START_MS,
        "until": START_MS + 100,
        "a_later_release": "adds this",
    }
    return {"id": f"event-{n}", "data": {**about, **more}}


def page(*numbers: int, last: int, more: bool = False, reset: bool = False) -> Reply:
    return Reply({"events": list(map(event, numbers)), "last": last, "more": more, "reset": reset})


def sse(*sent: tuple[str, Any], cut: bool = True) -> Reply:
    text = ": listening\nretry: 1000\n\n" + "".join(
        f"event: {kind}\nid: 1\ndata: {json.dumps(data)}\n\n" for kind, data in sent
    )
    return Reply(text.encode(), cut=cut, Content_Type="text/event-stream")


def test_stored_events_come_first_then_the_stream_is_followed_over_every_break() -> None:
    reply = turns(
        page(1, 2, last=2, more=True),
        page(4, last=5),
        sse(("anomaly", event(6)), ("database", {"wrong": "away"}), ("anomaly", event(7))),
        Reply({"detail": "away"}, 503, Retry_After="3"),
        sse(("anomaly", event(7)), ("anomaly", event(9))),  # 7 again: delivery is at least once
        sse(cut=False),  # ended by the server, as after a quarter of an hour
        sse(("anomaly", event(10))),
    )
    with serving(reply) as server, server.client() as client:
        followed = client.events(since=0, place="LA")
        found = list(islice(followed, 7))
        followed.close()  # type: ignore[attr-defined]
    assert [each.number for each in found] == [1, 2, 4, 6, 7, 9, 10]
    assert [each.query.get("since") for each in server.asked[:2]] == ["0", "2"]
    ids = [each.headers.get("Last-Event-ID") for each in server.asked[2:]]
    assert ids == ["5", "7", "7", "9", "9"]
    assert {each.query["place"] for each in server.asked} == {"LA"}
    assert server.pauses == [1, 3, 1, 1]


def test_pauses_grow_while_the_stream_stays_away_and_begin_anew_when_it_is_back() -> None:
    away = Reply(status=503)
    reply = turns(
        page(last=0), away, away, away, sse(("anomaly", event(1))), away, sse(("anomaly", event(2)))
    )
    with serving(reply) as server, server.client() as client:
        assert [each.number for each in islice(client.events(since=0), 2)] == [1, 2]
    assert server.pauses == [1, 2, 4, 1, 2]


def test_without_a_number_only_what_is_new_comes() -> None:
    with (
        serving(turns(page(6, last=7), page(last=7), sse(("anomaly", event(8))))) as server,
        server.client() as client,
    ):
        assert next(client.events()).number == 8
    assert server.asked[0].query == {"latest": "1"}
    assert server.asked[-1].headers["Last-Event-ID"] == "7"


def test_without_following_the_events_end() -> None:
    with serving(turns(page(1, 2, last=2))) as server, server.client() as client:
        assert [each.id for each in client.events(since=0, follow=False)] == ["event-1", "event-2"]
    assert len(server.asked) == 1


def test_an_emptied_database_is_reported_and_the_events_go_on_after_its_end() -> None:
    reply = turns(page(last=3, reset=True), sse(("reset", {"last": 1})), sse(("anomaly", event(2))))
    with (
        serving(reply) as server,
        server.client() as client,
        pytest.warns(EventsReset, match="no event has the number") as warned,
    ):
        assert next(client.events(since=99)).number == 2
    assert len(warned) == 2
    assert [each.headers.get("Last-Event-ID") for each in server.asked] == [None, "3", "1"]


@pytest.mark.parametrize(
    "reply", [sse(("revoked", {"wrong": "the key expired"})), Reply({"detail": "the key expired"}, 401)]
)
def test_a_key_that_ends_ends_the_stream(reply: Reply) -> None:
    with (
        serving(turns(page(last=0), reply)) as server,
        server.client() as client,
        pytest.raises(NotPermitted, match="the key expired"),
    ):
        next(client.events(since=0))


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"id": "x", "data": 7}'])
def test_a_message_that_is_no_event_is_a_clear_error(data: str) -> None:
    text = Reply(f"event: anomaly\ndata: {data}\n\n".encode())
    with (
        serving(turns(page(last=0), text)) as server,
        server.client() as client,
        pytest.raises(UnexpectedAnswer, match=r"^GET /events/stream"),
    ):
        next(client.events(since=0))


def test_an_event_has_its_properties_and_ignores_unknown_ones() -> None:
    with (
        serving(turns(Reply({**json.loads(page(last=1).body), "events": [event(1)]}))) as server,
        server.client() as client,
    ):
        (found,) = client.events(since=0, follow=False)
    assert (found.time, found.until - found.since) == (START, timedelta(milliseconds=100))
    assert (found.kind, found.devices, found.score, found.provisional) == ("hot_spot", (CAMERA,), 9.5, True)
    assert found.document == event(1)


def test_messages_are_those_of_the_standard_however_the_bytes_are_cut() -> None:
    text = (
        b"data: a\r\ndata:b\r\n\r\n: comment\n\nevent: x\nid: 7\ndata:  c\n\nevent: no data\n\ndata: unended"
    )
    for size in (1, 3, len(text)):
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        found = [(each.kind, each.data) for each in messages(pieces)]
        assert found == [("message", ["a", "b"]), ("x", [" c"])]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_a_message_without_an_end_is_not_kept(piece: bytes) -> None:
    count = 0

    def endless() -> Iterator[bytes]:
        nonlocal count
        while True:
            count += 1
            yield piece

    with pytest.raises(UnexpectedAnswer, match="a message has more than"):
        next(messages(endless()))
    assert count <= LONGEST_LINE_BYTES // 65536 + 2


# Labels and the ledger.


def test_a_label_is_sent_as_the_api_takes_it() -> None:
    with serving(turns(Reply({}, 201))) as server, server.client() as client:
        client.label("event/1", "confirmed", "mirror", kind="pointing", who="amelie")
        client.label("event-2", "false", who="amelie")
    first, second = server.asked
    assert (first.method, first.path) == ("POST", "/events/event%2F1/feedback")
    assert first.body == {"action": "confirmed", "label": "pointing", "note": "mirror", "who": "amelie"}
    assert second.body == {"action": "false", "note": "", "who": "amelie"}


def test_a_day_of_the_ledger_is_one_in_utc() -> None:
    balance = {
        "start": "2022-07-01T00:00:00Z",
        "end": "2022-07-02T00:00:00Z",
        "objects": 3,
        "bytes": 30,
        "states": {"ingested": 2, "rejected": 1},
        "reasons": {"empty": 1},
        "equalities": [],
        "adds_up": None,
    }
    with serving(turns(Reply(balance))) as server, server.client() as client:
        found = client.ledger(date(2022, 7, 1))
        client.ledger(START, END)
        with pytest.raises(InvalidArgument, match="end: it is missing"):
            client.ledger(START)
    day, span = ([int(each.query[name]) for name in ("from", "to")] for each in server.asked)
    assert day == [START_MS - 27_180_000, START_MS - 27_180_000 + 86_400_000]
    assert span == [START_MS, START_MS + 10_000]
    assert (found.states, found.adds_up, found.objects) == ({"ingested": 2, "rejected": 1}, None, 3)


# The package.


def test_everything_that_is_public_is_documented() -> None:
    for name in shotwatch_client.__all__:
        assert getattr(shotwatch_client, name).__doc__, name
    methods = [each for name, each in vars(ShotwatchClient).items() if not name.startswith("_")]
    assert all(method.__doc__ for method in methods)
    assert Event.__doc__


def test_the_package_has_types_for_others() -> None:
    assert (Path(shotwatch_client.__file__).parent / "py.typed").exists()


def test_a_warning_can_be_made_an_error() -> None:
    with (
        serving(turns(page(last=3, reset=True))) as server,
        server.client() as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", EventsReset)
        with pytest.raises(EventsReset):
            list(client.events(since=99, follow=False))
