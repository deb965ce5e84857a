"""How a bus settles messages, the one of a broker and the one in memory alike."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shotwatch_common.bus import Subscription
from shotwatch_common.telemetry import current_attempt
from shotwatch_shots.batch import ShotsMeasured
from shotwatch_shots.errors import Bug, Reject, Retry

STAGE = "shadow"
Deliver = Callable[[Subscription, bytes], Awaitable[str | None]]
"""Sends a message; returns why it was dead-lettered, None if it was handled and acknowledged."""


class BusContract:
    """The tests. A subclass's module has the fixture `deliver`."""

    async def test_a_message_that_is_handled_is_done(self, deliver: Deliver) -> None:
        handled: list[bytes] = []

        async def handle(body: bytes) -> None:
            handled.append(body)

        assert await deliver(Subscription(STAGE, None, handle, 1), b"body") is None
        assert handled == [b"body"]

    async def test_a_message_that_must_be_retried_comes_again_as_its_next_attempt(
        self, deliver: Deliver
    ) -> None:
        attempts: list[int] = []

        async def handle(_body: bytes) -> None:
            attempts.append(current_attempt())
            if len(attempts) == 1:
                raise Retry("the disk is full")

        assert await deliver(Subscription(STAGE, None, handle, 1), b"body") is None
        assert attempts == [1, 2]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (Reject("bad", "on purpose"), "bad: on purpose"),
            (Bug("on purpose"), "bug: Bug('on purpose')"),
            (KeyError("key"), "bug: KeyError('key')"),
        ],
        ids=["reject", "bug", "anything else"],
    )
    async def test_any_other_error_makes_it_a_dead_letter(
        self, deliver: Deliver, error: Exception, reason: str
    ) -> None:
        attempts: list[int] = []

        async def handle(_body: bytes) -> None:
            attempts.append(current_attempt())
            raise error

        assert await deliver(Subscription(STAGE, None, handle, 1), b"body") == reason
        assert attempts == [1]

    async def test_a_body_that_is_no_message_of_the_stage_is_a_dead_letter(self, deliver: Deliver) -> None:
        async def handle(_message: Any) -> None:
            raise AssertionError("no handler gets it")

        reason = await deliver(Subscription(STAGE, ShotsMeasured, handle, 1), b'{"shots": 5}')
        assert reason is not None
        assert reason.startswith("wrong_message: not a ShotsMeasured: ")
