"""The archive under several hands at once."""

import asyncio

from shotwatch_common.archive.ledger import Entry
from shotwatch_common.contracts import ObjectRef
from shotwatch_common.vocabulary import ObjectState

from .conftest import Running


async def test_no_sequence_number_is_given_to_two_writers(running: Running) -> None:
    events = running.archive.events
    firsts = await asyncio.gather(*(events.reserve(3) for _ in range(40)))
    numbers = sorted(number for first in firsts for number in range(first, first + 3))
    assert numbers == list(range(numbers[0], numbers[0] + 120))


async def test_of_many_that_enter_an_object_one_is_the_first(running: Running) -> None:
    ref = ObjectRef(object_id="once", bucket="b", key="k", etag="e", size=1, arrived_at=0)
    entered = await asyncio.gather(*(running.archive.ledger.enter(ref, "test") for _ in range(20)))
    assert sum(entered) == 1
    await running.archive.ledger.settle("once", Entry(ObjectState.IGNORED, "test"))
