"""Object events of S3-compatible stores: the envelope that both notifications and the sweep use."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from shotwatch_shots.errors import Reject
from shotwatch_shots.identity import object_id
from shotwatch_shots.records import ObjectRef

NOT_A_NOTIFICATION = "not_a_notification"
"""The rejection reason for messages that are not an object event."""
SWEEP = "shotwatch:sweep"
"""The `eventSource` of objects that the sweep found."""

_CREATED = "ObjectCreated:"
_EVENT = "s3:"
_TEST_EVENT = "s3:TestEvent"
"""Some stores send this event once when notifications are set up; it has no records."""
_MAX_TEXT_BYTES = 1024
"""Limit for keys, set by S3 itself; buckets and etags are shorter."""
_MAX_SIZE = 2**53

Json = dict[str, Any]
"""A part of a message of which nothing is known yet."""


@dataclass(frozen=True, slots=True)
class ArrivedObject:
    """One version of an object in a bucket."""

    bucket: str
    key: str
    etag: str
    size: int
    """Bytes."""
    arrived_at_ms: int
    """Epoch ms, UTC, by the store's clock."""

    @property
    def object_id(self) -> str:
        return object_id(self.bucket, self.key, self.etag)

    @property
    def ref(self) -> ObjectRef:
        """The object in the form that messages and the ledger use."""
        return ObjectRef(
            object_id=self.object_id,
            bucket=self.bucket,
            key=self.key,
            etag=self.etag,
            size=self.size,
            arrived_at=self.arrived_at_ms,
        )


def parse_notification(body: bytes) -> list[ArrivedObject]:
    """Return the objects whose creation a message reports.

    Events of any other kind, test events included, are ignored. Keys are URL-encoded in the envelope and
    plain in the result. If the store sends no etag, the version id replaces it. A missing size counts as
    zero, because some stores omit zeros.

    Raises:
        Reject: the message is not an object event; the detail describes what is wrong.
    """
    try:
        envelope = json.loads(body)
        if not isinstance(envelope, dict):
            raise ValueError("not a JSON object")
        if _is_harmless(envelope):
            return []
        records = envelope["Records"]
        return [_arrived(record) for record in records if _is_created(record)]
    except KeyError as error:
        raise Reject(NOT_A_NOTIFICATION, f"{error} is missing") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Reject(NOT_A_NOTIFICATION, str(error)) from error


def build_notification(found: ArrivedObject) -> bytes:
    """Return the message that a store would send for this object, with the sweep as its source."""
    envelope = {
        "EventName": f"s3:{_CREATED}Put",
        "Key": f"{found.bucket}/{found.key}",
        "Records": [_record(found)],
    }
    return json.dumps(envelope).encode()


def _is_harmless(envelope: Json) -> bool:
    """Return whether a message reports no object: a test event, or another event without records."""
    name = str(envelope.get("Event") or envelope.get("EventName"))
    without_records = envelope.get("Records") is None
    return name == _TEST_EVENT or (without_records and _EVENT in name and _CREATED not in name)


def _is_created(record: Json) -> bool:
    name: str = record["eventName"]
    return name.removeprefix("s3:").startswith(_CREATED)


def _arrived(record: Json) -> ArrivedObject:
    described = record["s3"]["object"]
    etag = described.get("eTag") or described["versionId"]
    return ArrivedObject(
        bucket=_text(record["s3"]["bucket"]["name"]),
        key=_text(unquote_plus(described["key"])),
        etag=_text(etag).strip('"'),
        size=_size(described.get("size", 0)),
        arrived_at_ms=_epoch_ms(record["eventTime"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} stands where a name is expected")
    octets = value.encode()  # JSON can encode half a surrogate pair, which no store, database or log accepts
    if len(octets) > _MAX_TEXT_BYTES:
        raise ValueError(f"a name has {len(octets)} bytes")
    return value


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_SIZE:
        raise ValueError(f"{value!r} is not a size in bytes")
    return value


def _epoch_ms(text: str) -> int:
    time = datetime.fromisoformat(text)
    return max(0, round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000))


def _record(found: ArrivedObject) -> dict[str, object]:
    return {
        "eventVersion": "2.0",
        "eventSource": SWEEP,
        "eventName": f"s3:{_CREATED}Put",
        "eventTime": _rfc3339(found.arrived_at_ms),
        "s3": {
            "bucket": {"name": found.bucket},
            "object": {"key": quote_plus(found.key), "eTag": found.etag, "size": found.size},
        },
    }


def _rfc3339(epoch_ms: int) -> str:
    time = datetime.fromtimestamp(epoch_ms / 1000, tz=UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
