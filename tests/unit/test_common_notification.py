"""Object events: what stores send, what the sweep sends, and what is neither."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.notification import (
    NOT_A_NOTIFICATION,
    ArrivedObject,
    build_notification,
    parse_notification,
)
from shotwatch_shots.errors import Reject

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
objects = st.builds(
    ArrivedObject,
    bucket=names,
    key=names,
    etag=st.text("0123456789abcdef-", min_size=1),
    size=st.integers(0, 2**50),
    arrived_at_ms=st.integers(0, 4_000_000_000_000),
)


def event(**changes: Any) -> dict[str, Any]:
    """One record as MinIO and RustFS write it."""
    described = {"key": "day+1/LA_x%2B1%25.h5", "size": 4980736, "eTag": "9a0364b9e99bb480dd25e1f0284c8555",
                 "contentType": "application/x-hdf5", "versionId": "v1", "sequencer": "17F0A"}  # fmt: skip
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventTime": "2022-07-01T07:34:00.250Z",
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": "inbox"}, "object": {**described, **changes.pop("object", {})}},
    }
    return {**record, **changes}


def envelope(*records: Any) -> bytes:
    first = {"EventName": "s3:ObjectCreated:Put", "Key": "inbox/day 1/LA_x+1%.h5"}
    return json.dumps({**first, "Records": records}).encode()


def test_a_stores_envelope_gives_the_object_with_its_plain_key():
    [found] = parse_notification(envelope(event()))

    assert found == ArrivedObject(
        bucket="inbox",
        key="day 1/LA_x+1%.h5",
        etag="9a0364b9e99bb480dd25e1f0284c8555",
        size=4980736,
        arrived_at_ms=1656660840250,
    )


@given(objects)
def test_what_the_sweep_builds_is_read_as_the_same_object(found: ArrivedObject):
    assert parse_notification(build_notification(found)) == [found]


@given(objects)
def test_the_sweep_speaks_the_stores_envelope(found: ArrivedObject):
    built = json.loads(build_notification(found))

    assert built["Key"] == f"{found.bucket}/{found.key}"
    assert built["EventName"] == "s3:ObjectCreated:Put"
    assert built["Records"][0]["eventSource"] == "shotwatch:sweep"
    assert built["Records"][0]["s3"]["object"]["key"].isascii()


@pytest.mark.parametrize(
    "name",
    ["s3:ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Copy",
     "ObjectCreated:Post"],
)  # fmt: skip
def test_every_way_of_creating_an_object_counts(name: str):
    assert len(parse_notification(envelope(event(eventName=name)))) == 1


@pytest.mark.parametrize(
    "name", ["s3:ObjectRemoved:Delete", "s3:ObjectAccessed:Get", "s3:Scanner:ManyVersions"]
)
def test_other_events_are_passed_over(name: str):
    assert parse_notification(envelope(event(eventName=name))) == []


def test_one_message_may_hold_several_records():
    other = event(object={"key": "other.h5"})

    found = parse_notification(envelope(event(), event(eventName="s3:ObjectRemoved:Delete"), other))

    assert [each.key for each in found] == ["day 1/LA_x+1%.h5", "other.h5"]


def test_the_same_object_reported_twice_has_one_id():
    first, again = parse_notification(envelope(event(), event(eventTime="2022-07-01T09:00:00Z")))

    assert first.object_id == again.object_id


def test_other_content_under_the_same_key_has_another_id():
    first, again = parse_notification(envelope(event(), event(object={"eTag": "00"})))

    assert first.object_id != again.object_id


def test_a_size_that_is_left_out_is_zero():
    record = event()
    del record["s3"]["object"]["size"]

    assert parse_notification(envelope(record))[0].size == 0


def test_the_version_stands_in_for_a_missing_etag():
    record = event()
    del record["s3"]["object"]["eTag"]

    assert parse_notification(envelope(record))[0].etag == "v1"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"[1]", "not a JSON object"),
        (b"{}", "Records"),
        (b'{"Records": 3}', "iterable"),
        (b'{"Records": [3]}', "subscriptable"),
        (b'{"Records": [{"eventName": 3}]}', "removeprefix"),
        (b"[" * 100_000, "recursion"),
        (envelope(event(eventTime="yesterday")), "yesterday"),
        (envelope(event(s3={})), "object"),
        (envelope(event(object={"key": ""})), "''"),
        (envelope(event(object={"key": "\ud800"})), "surrogates"),
        (envelope(event(object={"size": -1})), "-1"),
        (envelope(event(object={"size": "big"})), "big"),
    ],
)
def test_garbage_is_rejected_with_what_is_wrong_with_it(body: bytes, why: str):
    with pytest.raises(Reject, match=why) as rejection:
        parse_notification(body)

    assert rejection.value.reason == NOT_A_NOTIFICATION


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "eventName", "s3", "object", "key", "eventTime"]), inner
        )
    ),
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_message_breaks_the_parser(body: bytes):
    with suppress(Reject):
        parse_notification(body)


@pytest.mark.parametrize("name", ["s3:ObjectRemoved:Delete", "s3:TestEvent"])
def test_an_event_of_another_kind_may_have_no_records(name: str) -> None:
    assert parse_notification(json.dumps({"EventName": name, "Records": None}).encode()) == []


@pytest.mark.parametrize("envelope", [{"EventName": "s3:ObjectCreated:Put"}, {"EventName": 3}, {"Event": []}])
def test_news_of_an_object_has_records(envelope: dict[str, Any]) -> None:
    with pytest.raises(Reject, match="Records"):
        parse_notification(json.dumps(envelope).encode())


def test_a_test_event_is_passed_over() -> None:
    """Amazon S3 and others send it once, when somebody sets notifications up."""
    sent = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2024-01-01T00:00:00.000Z",
            "Bucket": "inbox", "RequestId": "0", "HostId": "0"}  # fmt: skip
    assert parse_notification(json.dumps(sent).encode()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"size": 2**63}, {"size": True}, {"key": "k" * 1025}, {"eTag": "e" * 1025}],
    ids=["size", "no number", "key", "etag"],
)
def test_what_no_database_could_keep_is_no_event(wrong: dict[str, Any]) -> None:
    with pytest.raises(Reject, match=NOT_A_NOTIFICATION):
        parse_notification(envelope(event(object=wrong)))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_the_oldest_and_the_latest_time_are_times(time: str) -> None:
    [found] = parse_notification(envelope(event(eventTime=time)))
    assert 0 <= found.arrived_at_ms < 2**53
