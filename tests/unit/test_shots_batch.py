"""The columns of a member, and its part in a single shot, agree with its message entry by entry."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_shots.batch import Member

ENTRIES = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(0, 9), st.integers(0, 2), st.booleans()), max_size=8
)
"""Of each shot: source, row, verdict and whether the device was ON."""


def message_of(entries: list[tuple[int, int, int, bool]]) -> dict[str, Any]:
    """The message of a camera with three blocks; a shot without a record has no verdict either."""
    return {
        "device": "camera",
        "kind": "Camera",
        "blocks": [
            {"bucket": "blocks", "key": k, "object_id": k, "object_key": f"{k}.h5", "crc32": n}
            for n, k in enumerate("abc")
        ],
        "source": [source for source, _, _, _ in entries],
        "row": [row if source >= 0 else 0 for source, row, _, _ in entries],
        "reasons": ["black_frame: dark", "wrong_shape"],
        "verdict": [verdict if source >= 0 else 0 for source, _, verdict, _ in entries],
        "on": [on for _, _, _, on in entries],
    }


@given(ENTRIES)
def test_a_member_is_the_same_after_a_journey(entries: list[tuple[int, int, int, bool]]) -> None:
    message = message_of(entries)
    assert json.loads(Member.model_validate_json(json.dumps(message)).model_dump_json()) == message


@given(ENTRIES)
def test_every_shot_is_missing_valid_or_refused_for_its_reason(
    entries: list[tuple[int, int, int, bool]],
) -> None:
    message = message_of(entries)
    member = Member.model_validate(message)
    for n, (source, row, verdict, on) in enumerate(entries):
        record = member.of_shot(n)
        assert (member.present[n], record.on) == (source >= 0, on)
        if source < 0:
            assert (record.verdict, record.block, record.row) == ("missing", None, None)
        else:
            assert record.block is not None
            assert (record.block.key, record.row) == ("abc"[source], row)
            assert record.verdict == ("valid", "black_frame: dark", "wrong_shape")[verdict]
        assert record.valid == member.valid[n] == (source >= 0 and verdict == 0)
        assert [member.refused_for(reason)[n] for reason in range(2)] == [
            source >= 0 and verdict == reason + 1 for reason in range(2)
        ]


@given(ENTRIES, st.data())
def test_the_blocks_of_some_shots_hold_each_of_their_records_once(
    entries: list[tuple[int, int, int, bool]], data: st.DataObject
) -> None:
    member = Member.model_validate(message_of(entries))
    chosen = data.draw(st.lists(st.booleans(), min_size=len(entries), max_size=len(entries)))
    found = {n: ref.key for ref, shots in member.by_block(np.array(chosen, bool)) for n in shots.tolist()}
    assert found == {n: "abc"[s] for n, (s, _, _, _) in enumerate(entries) if chosen[n] and s >= 0}
