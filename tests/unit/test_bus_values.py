"""A message with more values than any of ours is refused before parsing it takes the service's memory."""

from types import SimpleNamespace
from typing import Any

import pytest

from shotwatch_common.bus import Subscription
from shotwatch_common.bus.consumer import _decode
from shotwatch_common.subjects import Subject, subject_of
from shotwatch_shots.errors import Reject
from shotwatch_shots.message import MOST_VALUES
from shotwatch_shots.records import FileIngested

MANY = b'{"object": [' + b"1," * MOST_VALUES + b"1]}"


async def handle(_message: Any) -> None: ...


@pytest.mark.parametrize("contract", [None, FileIngested])
async def test_a_stage_refuses_it_unparsed(contract: Any):
    message: Any = SimpleNamespace(body=MANY)
    with pytest.raises(Reject, match="values"):
        await _decode(Subscription("validate", contract, handle, prefetch=1), message)


def test_it_has_no_subject():
    about = (
        b'{"object": {"object_id": "i", "bucket": "b", "key": "k", "etag": "e", "size": 1, "arrived_at": 1}, '
    )
    assert subject_of(about + b'"more": []}').objects
    assert subject_of(about + b'"more": [' + b"1," * MOST_VALUES + b"1]}") == Subject()
