"""Frames of messages with properties that Python cannot represent are read, and the message is refused."""

import struct

import pamqp.frame
import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

import shotwatch_common.broker_connection  # noqa: F401  all clients of the broker import it
from shotwatch_common.tolerant_frames import UNDECODABLE_HEADER, undecodable

YEAR_292_MILLION = struct.pack(">Q", 2**63 - 1)
NOT_UTF_8 = b"\x02\xff\xfe"


TIMESTAMP, HEADERS = Basic.Properties.flags["timestamp"], Basic.Properties.flags["headers"]


def table(key: bytes, value: bytes) -> bytes:
    """Return a table of headers with one entry, by the grammar of AMQP 0.9.1 (4.2.5.5)."""
    entry = key + value
    return struct.pack(">I", len(entry)) + entry


def nested(depth: int) -> bytes:
    """Return a list in a list in a list …, as the value of a header."""
    array = b""
    for _ in range(depth):
        array = b"A" + struct.pack(">I", len(array)) + array
    return array


HOSTILE = {
    "a name that is not UTF-8": table(NOT_UTF_8, b"t\x01"),
    "a type that nobody knows": table(b"\x01a", b"?"),
    "lists in lists": table(b"\x01a", nested(20_000)),
}


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def header_frame(flags: int, properties: bytes) -> bytes:
    return frame(2, struct.pack(">HHQH", 60, 0, 7, flags) + properties)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_headers_that_cannot_be_decoded_are_replaced_by_the_reason_and_end_no_connection(hostile: str):
    _, _, read = pamqp.frame.unmarshal(header_frame(HEADERS, HOSTILE[hostile]))
    assert isinstance(read, ContentHeader)
    assert read.body_size == 7
    assert list(read.properties.headers or {}) == [UNDECODABLE_HEADER]
    assert undecodable(read.properties.headers or {})


def test_a_time_outside_the_calendar_is_left_out():
    alone = pamqp.frame.unmarshal(header_frame(TIMESTAMP, YEAR_292_MILLION))[2]
    among = pamqp.frame.unmarshal(header_frame(HEADERS, table(b"\x01a", b"T" + YEAR_292_MILLION)))[2]
    assert isinstance(alone, ContentHeader)
    assert isinstance(among, ContentHeader)
    assert alone.properties.timestamp is None
    assert among.properties.headers == {"a": None}


def test_a_text_that_is_not_utf_8_is_escaped():
    flags = Basic.Properties.flags["correlation_id"]
    _, _, read = pamqp.frame.unmarshal(header_frame(flags, NOT_UTF_8))
    assert isinstance(read, ContentHeader)
    assert read.properties.correlation_id == r"\xff\xfe"


def test_a_routing_key_that_is_not_utf_8_is_escaped():
    """It comes with the delivery, before the properties."""
    method = struct.pack(">HH", 60, 60) + b"\x01c" + struct.pack(">QB", 1, 0) + b"\x01x" + NOT_UTF_8
    _, _, read = pamqp.frame.unmarshal(frame(1, method))
    assert isinstance(read, Basic.Deliver)
    assert (read.exchange, read.routing_key) == ("x", r"\xff\xfe")


def test_other_properties_are_decoded_as_they_were_sent():
    sent = Basic.Properties(
        content_type="application/json", headers={"a": 1, "b": ["c"]}, correlation_id="ü", priority=3
    )
    payload = ContentHeader(body_size=7, properties=sent).marshal()
    _, _, read = pamqp.frame.unmarshal(frame(2, payload))
    assert isinstance(read, ContentHeader)
    assert read.properties == sent


def test_a_frame_that_is_cut_off_is_an_error():
    with pytest.raises(pamqp.exceptions.UnmarshalingException):
        pamqp.frame.unmarshal(frame(2, b"\x00\x3c"))
