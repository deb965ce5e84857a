"""The settled prefix: whoever goes on from the last number misses no event."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shotwatch_query.domain.settled import TIMEOUT_MS, Numbered, settled


@dataclass(frozen=True)
class Writing:
    """An event: how long after the one before its number was reserved, and when it was stored after that."""

    pause_ms: int
    delay_ms: int | None
    """None: never, its writer died."""


writings = st.lists(
    st.builds(Writing, st.integers(0, 4_000), st.one_of(st.none(), st.integers(0, TIMEOUT_MS - 1))),
    max_size=30,
)


@given(writings, st.lists(st.integers(0, 150_000), max_size=30))
def test_a_subscriber_gets_every_stored_event_once_and_in_order(
    writings: list[Writing], polls: list[int]
) -> None:
    stored, reserved_at = [], 0
    for sequence, writing in enumerate(writings, 1):
        reserved_at += writing.pause_ms
        if writing.delay_ms is not None:
            stored.append(Numbered(sequence, reserved_at + writing.delay_ms))
    seen: list[Numbered] = []
    for now in [*sorted(polls), 1_000_000]:
        last = seen[-1].sequence if seen else 0
        visible = [event for event in stored if event.sequence > last and event.stored_at <= now]
        seen += visible[: settled(visible, last, now)]
    assert seen == stored


def test_nothing_is_held_back_without_a_gap() -> None:
    assert settled([Numbered(4, 1_000), Numbered(5, 1_000)], since=3, now_ms=1_000) == 2


def test_a_young_gap_holds_back_what_follows() -> None:
    events = [Numbered(4, 1_000), Numbered(6, 1_001)]
    assert settled(events, since=3, now_ms=1_001 + TIMEOUT_MS - 1) == 1
    assert settled(events, since=3, now_ms=1_001 + TIMEOUT_MS) == 2


def test_an_old_event_behind_a_gap_proves_the_gap_old() -> None:
    events = [Numbered(2, 90_000), Numbered(3, 1_000)]
    assert settled(events, since=0, now_ms=90_000) == 2
