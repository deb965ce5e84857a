"""A message with more values or devices than any of ours is refused before it takes memory or time."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from shotwatch_common.bus import Subscription
from shotwatch_common.bus.consumer import _decode
from shotwatch_common.subjects import Subject, subject_of
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.errors import Reject
from shotwatch_shots.message import MOST_VALUES, Message
from shotwatch_shots.records import MOST_DEVICES, FileIngested, FileValidated

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


@pytest.mark.parametrize(
    ("contract", "part"), [(FileIngested, "devices"), (FileValidated, "devices"), (ShotBatch, "members")]
)
def test_no_message_has_more_devices_than_any_file(contract: type[Message], part: str):
    with pytest.raises(ValidationError) as refused:
        contract.model_validate_json(f'{{"{part}": [{"{}," * MOST_DEVICES}{{}}]}}')
    assert ((part,), "too_long") in [(each["loc"], each["type"]) for each in refused.value.errors()]
