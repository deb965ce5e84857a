"""The equalities on made-up sides: what is wrong, what is under way, and what neither is."""

from dataclasses import replace
from typing import cast

import pytest

from shotwatch_common.archive import Archive
from shotwatch_operations.reconciliation.tallying import tally_of
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.identity import blocks_id
from shotwatch_shots.reconciliation.events import compare_events
from shotwatch_shots.reconciliation.objects import (
    compare_block_folders,
    compare_folder,
    compare_inbox,
    compare_places,
)
from shotwatch_shots.reconciliation.outcome import NAMED, Imbalance, Outcome
from shotwatch_shots.reconciliation.records import compare_records
from shotwatch_shots.reconciliation.shots import (
    compare_batches_without_window,
    compare_files,
    compare_shot_ids,
    compare_shots,
)
from shotwatch_shots.reconciliation.sides import (
    Buckets,
    ClosedShots,
    ClosedWindow,
    EventNumbers,
    FileVersion,
    HeldBlock,
    HeldObject,
    JoinedRows,
    KnownObject,
    StoredEvent,
    StoredShot,
    Tally,
    ValidatedRows,
    WindowOfBatch,
)
from shotwatch_shots.reconciliation.slices import INBOX, Equality, Reconciled, Slice
from shotwatch_shots.reconciliation.summary import summaries_of
from shotwatch_shots.vocabulary import ObjectState, ShotState

NOW = 1_000_000
OLD = NOW - 1
"""Before this nothing is under way any more: NOW - 0."""
A = KnownObject("a", "a.h5", "e1", 10, ObjectState.INGESTED, OLD, 5, 7, ("data", "2022-07-01/a.h5"), 3, 0)
HELD = HeldObject("2022-07-01/a.h5", "e1", 10, 0)


def subjects(outcome: Outcome) -> list[str]:
    return [imbalance.subject for imbalance in outcome.imbalances]


# objects


def test_an_object_in_its_place_adds_up() -> None:
    outcome = compare_folder("data", [HELD], [A], (), (), NOW, 0)
    assert outcome == Outcome({"in_buckets": 1, "in_ledger": 1, "replaced": 0})


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        ([], "ingested, and data/2022-07-01/a.h5 does not exist"),
        (
            [replace(HELD, etag="e2")],
            "data/2022-07-01/a.h5 has etag e2, 10 bytes; the ledger records etag e1, 10 bytes",
        ),
        (
            [replace(HELD, size=9)],
            "data/2022-07-01/a.h5 has etag e1, 9 bytes; the ledger records etag e1, 10 bytes",
        ),
    ],
)
def test_a_missing_or_altered_object_is_named_unless_it_is_still_moving(
    held: list[HeldObject], wrong: str
) -> None:
    assert compare_folder("data", held, [A], (), (), NOW, 0).imbalances == (
        Imbalance("object a (a.h5)", wrong),
    )
    moving = compare_folder("data", held, [replace(A, since=NOW)], {"a"}, (), NOW, 0)
    assert (moving.imbalances, moving.under_way) == ((), 1)
    assert compare_folder("data", held, [A], {"a"}, (), NOW, 0).imbalances, (
        "what moves for ever does not move"
    )


def test_of_two_versions_with_one_place_either_may_lie_there() -> None:
    newer = replace(A, id="b", etag="e2", arrived_at=6)
    for etag in ("e1", "e2"):
        outcome = compare_folder("data", [replace(HELD, etag=etag)], [A, newer], (), (), NOW, 0)
        assert (outcome.imbalances, outcome.counts["replaced"]) == ((), 1)
    assert subjects(compare_folder("data", [], [A, newer], (), (), NOW, 0)) == ["object b (a.h5)"]


def test_the_copy_of_an_object_in_parts_has_another_etag_and_the_same_size() -> None:
    in_parts = replace(A, etag="e9-2")
    assert not compare_folder("data", [HELD], [in_parts], (), (), NOW, 0).imbalances
    assert compare_folder("data", [replace(HELD, size=9)], [in_parts], (), (), NOW, 0).imbalances


def test_an_object_that_the_ledger_places_elsewhere_is_unknown_here() -> None:
    outcome = compare_folder("errors", [HELD], [A], (), (), NOW, 0)
    assert subjects(outcome) == ["errors/2022-07-01/a.h5"]


def test_a_rejected_file_without_its_note_is_named_unless_the_file_is_missing_too() -> None:
    rejected = replace(A, state=ObjectState.REJECTED, location=("errors", HELD.key))
    (wrong,) = compare_folder("errors", [HELD], [rejected], (), {"a"}, NOW, 0).imbalances
    assert wrong.wrong == "rejected, and its note 2022-07-01/a.h5.reason.json does not exist"
    (wrong,) = compare_folder("errors", [], [rejected], (), {"a"}, NOW, 0).imbalances
    assert wrong.wrong == "rejected, and errors/2022-07-01/a.h5 does not exist"


def test_an_object_that_was_stored_after_what_is_deleted_cannot_have_expired() -> None:
    """The store has the time by itself; the ledger's times may be altered with its state."""
    expired = replace(A, state=ObjectState.EXPIRED, arrived_at=0, since=OLD)
    for stored_at, imbalances in ((4, ()), (5, ("object a (a.h5)",))):
        outcome = compare_folder("data", [replace(HELD, modified_at=stored_at)], [expired], (), (), NOW, 5)
        assert subjects(outcome) == [*imbalances]


def test_blocks_of_an_object_that_the_ledger_does_not_have_are_named() -> None:
    known = {"a": "2022-07-01", "c": "2022-07-02", "d": None}
    outcome = compare_block_folders("blocks", "2022-07-01", ["a/", "a", "b/", "c/", "d/"], known)
    assert subjects(outcome) == [f"blocks/2022-07-01/{name}" for name in ("a", "b/", "c/")]
    assert outcome.imbalances[-1].wrong == "blocks of an object of 2022-07-02, in the folder of another day"


# places

BUCKETS = Buckets("inbox", "data", "errors")
RAW, IGNORED = ("data", "2022-07-01/a@e1.h5"), ("data", "2026-11-27/ignored/a@e1.h5")
REJECTED, INBOX_PLACE = ("errors", "2026-11-27/empty/a@e1.h5"), ("inbox", "a.h5")
EARLIER_RAW, EARLIER_IGNORED = ("data", "2022-07-01/a.h5"), ("data", "2026-11-27/ignored/a.h5")
EARLIER_REJECTED = "errors", "2026-11-27/empty/a.h5"
RAW_KEYS = RAW[1], EARLIER_RAW[1]


def places(
    state: ObjectState, location: tuple[str, str] | None, raw: tuple[str, str] | None = RAW_KEYS
) -> list[str]:
    known = replace(A, state=state, location=location, reason="empty", states=frozenset(ObjectState))
    outcome = compare_places([known], {"a": raw} if raw else {}, BUCKETS, NOW)
    return [imbalance.wrong for imbalance in outcome.imbalances]


@pytest.mark.parametrize(
    "location",
    [RAW, IGNORED, REJECTED, EARLIER_RAW, EARLIER_IGNORED, EARLIER_REJECTED, INBOX_PLACE, None],
)
@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (ObjectState.INGESTED, [RAW, EARLIER_RAW]),
        (ObjectState.EXPIRED, [RAW, EARLIER_RAW]),
        (ObjectState.REJECTED, [REJECTED, EARLIER_REJECTED]),
        (ObjectState.IGNORED, [IGNORED, EARLIER_IGNORED, None]),
        (ObjectState.WAITING, [INBOX_PLACE]),
    ],
)
def test_an_object_lies_where_its_state_requires(
    state: ObjectState, allowed: list[tuple[str, str] | None], location: tuple[str, str] | None
) -> None:
    assert (places(state, location) == []) == (location in allowed)
    assert places(ObjectState.DEAD_LETTERED, location) == []


def test_a_dead_lettered_object_lies_where_it_was_before() -> None:
    before = frozenset({ObjectState.WAITING, ObjectState.DEAD_LETTERED})
    known = replace(A, state=ObjectState.DEAD_LETTERED, states=before, location=INBOX_PLACE)
    assert compare_places([known], {"a": RAW_KEYS}, BUCKETS, NOW).total == 0
    for location in (None, RAW, REJECTED, ("data", "somewhere/a@e1.h5"), ("blocks", RAW[1])):
        moved = replace(known, location=location)
        (wrong,) = compare_places([moved], {"a": RAW_KEYS}, BUCKETS, NOW).imbalances
        assert wrong.wrong == f"dead_lettered, and its location is {'/'.join(location or ('nowhere',))}"
    rejected = replace(known, location=REJECTED, states=before | {ObjectState.REJECTED}, reason="bug")
    assert compare_places([rejected], {"a": RAW_KEYS}, BUCKETS, NOW).total == 0
    expired = replace(known, location=RAW, states=before | {ObjectState.EXPIRED})
    assert compare_places([expired], {"a": RAW_KEYS}, BUCKETS, NOW).total == 0


@pytest.mark.parametrize(
    ("state", "location"),
    [
        (ObjectState.INGESTED, ("data", "2022-07-02/a.h5")),
        (ObjectState.INGESTED, ("errors", "2022-07-01/a.h5")),
        (ObjectState.INGESTED, ("data", "2022-07-01/a@e2.h5")),
        (ObjectState.REJECTED, ("errors", "2026-11-27/not_hdf5/a.h5")),
        (ObjectState.REJECTED, ("errors", "somewhere/empty/a.h5")),
        (ObjectState.IGNORED, ("data", "2026-11-27/ignored/b.h5")),
        (ObjectState.WAITING, ("inbox", "b.h5")),
    ],
)
def test_a_place_of_another_day_reason_or_file_is_named(
    state: ObjectState, location: tuple[str, str]
) -> None:
    assert places(state, location) == [f"{state}, and its location is {'/'.join(location)}"]


def test_a_file_whose_name_the_facility_no_longer_has_may_lie_in_any_day() -> None:
    assert places(ObjectState.INGESTED, ("data", "2022-07-02/a.h5"), raw=None) == []
    assert places(ObjectState.INGESTED, ("data", "2022-07-02/b.h5"), raw=None) != []


def test_an_object_that_just_came_into_its_state_has_time_to_get_its_place() -> None:
    moving = replace(A, state=ObjectState.IGNORED, since=NOW)
    assert compare_places([moving], {"a": RAW[1]}, BUCKETS, NOW).under_way == 1


def test_an_object_has_been_in_its_state_by_its_history() -> None:
    altered = replace(A, state=ObjectState.DEAD_LETTERED, states=frozenset({ObjectState.INGESTED}))
    (wrong,) = compare_places([altered], {"a": RAW_KEYS}, BUCKETS, NOW).imbalances
    assert wrong.wrong == "dead_lettered, and no step of its history records it"


WAITING = replace(A, state=ObjectState.WAITING, location=("inbox", "a.h5"))
IN_INBOX = {"a": HeldObject("a.h5", "e1", 10, OLD)}


def test_what_waits_in_the_inbox_is_under_way() -> None:
    outcome = compare_inbox("inbox", IN_INBOX, {"a": WAITING}, NOW, NOW, queued=False)
    assert (outcome.imbalances, outcome.under_way) == ((), 1)
    assert outcome.pending == (Imbalance("object a (a.h5)", "waits in the inbox"),)


@pytest.mark.parametrize(
    ("held", "known", "queued", "wrong"),
    [
        (IN_INBOX, {}, False, "in the inbox, and unknown to the ledger"),
        ({}, {"a": WAITING}, False, "waiting, and gone from the inbox"),
        ({}, {"a": WAITING}, True, None),
        ({}, {"a": replace(WAITING, since=NOW)}, False, None),
        ({"a": replace(IN_INBOX["a"], modified_at=NOW)}, {}, False, None),
        (IN_INBOX, {"a": A}, False, "in the inbox, and ingested by the ledger: data/2022-07-01/a.h5"),
        (IN_INBOX, {"a": replace(A, since=NOW)}, False, None),
    ],
)
def test_the_inbox_and_the_ledger_state_the_same_of_what_is_old(
    held: dict[str, HeldObject], known: dict[str, KnownObject], queued: bool, wrong: str | None
) -> None:
    outcome = compare_inbox("inbox", held, known, NOW, NOW, queued)
    assert [imbalance.wrong for imbalance in outcome.imbalances] == ([wrong] if wrong else [])
    assert outcome.under_way == (wrong is None)


# records


def records(
    known: KnownObject = A,
    blocks: dict[str, int | None] | None = None,
    rows: int = 3,
    joined: tuple[int, int, int] = (2, 1, 0),
    kept_after: int = 0,
    queued: bool = False,
    refused: int = 1,
) -> Outcome:
    of_windows = [JoinedRows("a", "camera", *joined)]
    rows_of = {"camera": 3} if blocks is None else blocks
    in_blocks = {"a": {name: HeldBlock(n, "e7") for name, n in rows_of.items()}}
    validated = [ValidatedRows("a", "camera", rows, refused)] if rows else []
    return compare_records([known], {}, in_blocks, validated, of_windows, NOW, kept_after, queued)


def test_records_are_in_windows_or_on_no_pulse() -> None:
    assert records().imbalances == ()
    assert records(replace(A, on_no_pulse=1), joined=(1, 0, 1)).imbalances == ()
    (wrong,) = records(joined=(1, 1, 0)).imbalances
    assert wrong.wrong == (
        "3 records were validated; windows have 1 valid, 1 refused, 0 displaced by a later file, "
        "and 0 are on no pulse"
    )


@pytest.mark.parametrize(
    ("joined", "on_no_pulse", "refused", "adds_up"),
    [
        ((2, 1, 0), 0, 1, True),
        ((2, 1, 0), 0, 0, False),
        ((2, 1, 0), 0, 2, False),
        ((1, 1, 1), 0, 2, True),
        ((1, 1, 0), 1, 2, True),
        ((1, 1, 1), 0, 3, False),
    ],
)
def test_windows_refuse_what_validation_refused_but_for_rows_that_they_do_not_have(
    joined: tuple[int, int, int], on_no_pulse: int, refused: int, adds_up: bool
) -> None:
    outcome = records(replace(A, on_no_pulse=on_no_pulse), joined=joined, refused=refused)
    assert [imbalance.wrong.partition(";")[0] for imbalance in outcome.imbalances] == (
        [] if adds_up else [f"validation refused {refused} records"]
    )


def test_blocks_have_a_row_for_each_record_until_they_expire() -> None:
    (fewer,) = records(blocks={"camera": 2}).imbalances
    assert fewer.wrong == "the block of camera has 2 rows, 3 records were validated"
    (unreadable,) = records(blocks={"camera": None}).imbalances
    assert "cannot be read" in unreadable.wrong
    assert records(blocks={}, kept_after=NOW).imbalances == ()
    assert records(blocks={}).imbalances != ()
    assert records(blocks={"another": 3}, kept_after=NOW).imbalances != (), "they expire together"


def test_blocks_are_those_that_ingest_wrote() -> None:
    assert records(replace(A, blocks_id=blocks_id({"camera": "e7"}))).imbalances == ()
    written = replace(A, blocks_id=blocks_id({"camera": "e8"}))
    (altered,) = records(written).imbalances
    assert altered.wrong == "its blocks have the right numbers of rows, but ingest wrote other bytes"
    (fewer,) = records(written, blocks={"camera": 2}).imbalances
    assert "has 2 rows" in fewer.wrong, "one imbalance reports it"


def test_what_was_never_joined_is_named_once_no_message_is_left() -> None:
    unjoined = replace(A, joined_at=0)
    assert records(unjoined, queued=True).under_way == 1
    assert records(replace(unjoined, since=NOW)).under_way == 1
    assert records(unjoined).imbalances[0].wrong == "ingested, and its records were never joined"


def test_what_ingest_read_is_what_was_validated_and_of_a_later_version_alone() -> None:
    (wrong,) = records(replace(A, records=4)).imbalances
    assert wrong.wrong == "ingest read 4 records, 3 were validated"
    superseded = compare_records([A], {"a": LATER}, {}, [], [], NOW, 0, queued=False)
    assert (superseded.imbalances, superseded.counts["replaced"]) == ((), 1)


LATER = replace(A, id="b")


@pytest.mark.parametrize(
    ("later", "queued", "named", "under_way"),
    [
        (LATER, False, 1, 0),
        (LATER, True, 0, 1),
        (replace(LATER, joined_at=NOW), False, 0, 1),
        (replace(LATER, joined_at=0), False, 0, 1),
    ],
)
def test_nothing_is_left_of_a_version_once_a_later_one_is_joined(
    later: KnownObject, queued: bool, named: int, under_way: int
) -> None:
    joined = [JoinedRows("a", "camera", 2, 1, 0), JoinedRows("b", "camera", 3, 0, 0)]
    validated = [ValidatedRows("a", "camera", 4, 0), ValidatedRows("b", "camera", 3, 0)]
    outcome = compare_records([A], {"a": later}, {}, validated, joined, NOW, 0, queued)
    assert (outcome.total, outcome.under_way) == (named, under_way)
    for wrong in outcome.imbalances:
        left = "3 of its records are in windows, 4 in the collection records"
        assert wrong.wrong == f"replaced by object b, and {left}"


@pytest.mark.parametrize("state", [ObjectState.REJECTED, ObjectState.IGNORED])
def test_what_was_rejected_or_ignored_has_no_joined_records(state: ObjectState) -> None:
    (wrong,) = records(replace(A, state=state)).imbalances
    assert wrong.wrong == f"{state}, and its records were joined: windows have 3"
    assert records(replace(A, state=state, joined_at=0)).total == 1
    assert records(replace(A, state=state), joined=(0, 0, 3)).total == 1
    (wrong,) = records(replace(A, state=state, joined_at=0), joined=(0, 0, 3)).imbalances
    assert wrong.wrong == f"{state}, and 3 records of it were validated"
    assert records(replace(A, state=state, joined_at=0), rows=0, joined=(0, 0, 3)).total == 0
    assert records(replace(A, state=state, since=NOW)).under_way == 1


@pytest.mark.parametrize("state", [ObjectState.WAITING, ObjectState.DEAD_LETTERED, ObjectState.EXPIRED])
def test_what_is_read_again_dead_lettered_or_expired_may_have_joined_records(state: ObjectState) -> None:
    assert records(replace(A, state=state)).total == 0


# shots

WINDOW = ClosedWindow("w", "w", {100: 1, 200: 2}, 0)
SHOTS = [
    StoredShot("s1", "w", 100, 1, "s1", "w", "w-1", 0),
    StoredShot("s2", "w", 200, 2, "s2", "w", "w-2", 0),
]
BATCHES = [
    ClosedShots("w-1", "w", {100: 1, 200: 1}, ShotState.JUDGED, OLD),
    ClosedShots("w-2", "w", {200: 2}, ShotState.JUDGED, OLD),
]


def test_closed_pulses_are_stored_shots_and_judged() -> None:
    outcome = compare_shots([WINDOW], SHOTS, BATCHES, NOW, queued=False)
    assert outcome.imbalances == ()
    assert (outcome.counts["closed"], outcome.counts["stored"], outcome.counts["judged"]) == (2, 2, 2)


def test_a_shot_that_waits_for_its_revision_is_stored_at_the_earlier_one() -> None:
    waiting = [BATCHES[0], replace(BATCHES[1], state=ShotState.WAITING, closed_at=NOW)]
    stored = [SHOTS[0], replace(SHOTS[1], revision=1)]
    outcome = compare_shots([WINDOW], stored, waiting, NOW, queued=False)
    assert (outcome.imbalances, outcome.under_way, outcome.counts["waiting"]) == ((), 1, 1)
    assert subjects(compare_shots([WINDOW], stored, BATCHES, NOW, queued=False)) == ["shot s2"]


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (SHOTS[1:], ["shot of w at 100"]),
        ([replace(SHOTS[0], revision=2), SHOTS[1]], ["shot s1"]),
        ([replace(SHOTS[0], batch_id="w-2"), SHOTS[1]], ["shot s1"]),
        ([replace(SHOTS[0], index=1), SHOTS[1]], ["shot s1"]),
        ([*SHOTS, StoredShot("s3", "w", 300, 1, "s3", "w", "w-1", 2)], ["shot s3"]),
    ],
)
def test_a_shot_that_is_lost_added_or_of_another_revision_or_batch_is_named(
    stored: list[StoredShot], named: list[str]
) -> None:
    assert subjects(compare_shots([WINDOW], stored, BATCHES, NOW, queued=False)) == named


def test_a_message_that_stays_in_the_outbox_is_named_when_it_is_old() -> None:
    batches = BATCHES[:1]
    sending = compare_shots([replace(WINDOW, sending_since=NOW)], SHOTS, batches, NOW, queued=False)
    assert (sending.imbalances, sending.under_way) == ((), 1)
    stuck = compare_shots([replace(WINDOW, sending_since=OLD)], SHOTS, batches, NOW, queued=False)
    assert [imbalance.wrong for imbalance in stuck.imbalances] == ["closed at revision 2, and in no batch"]


def test_windows_have_records_of_file_versions_that_the_ledger_has() -> None:
    files = [FileVersion("a.h5", "a"), FileVersion("a.h5", "x"), FileVersion("b.h5", "b")]
    outcome = compare_files([("window w", file) for file in files], {"a.h5": {"a"}})
    assert outcome.imbalances == (
        Imbalance("window w", "has records of object x, which the ledger does not have under the key a.h5"),
        Imbalance("window w", "has records of b.h5, which the ledger does not have"),
    )


def test_a_window_lists_the_files_that_it_has_records_of() -> None:
    listed = replace(WINDOW, files=("a.h5",), sources=frozenset({FileVersion("a.h5", "a")}))
    assert compare_shots([listed], SHOTS, BATCHES, NOW, queued=False).total == 0
    for files in ((), ("a.h5", "b.h5")):
        outcome = compare_shots([replace(listed, files=files)], SHOTS, BATCHES, NOW, queued=False)
        assert subjects(outcome) == ["window w"]


def test_a_window_has_the_place_and_time_of_its_id() -> None:
    (wrong,) = compare_shots([replace(WINDOW, expected_id="v")], SHOTS, BATCHES, NOW, queued=False).imbalances
    assert wrong == Imbalance("window w", "has place, interval and start of window v")


def test_the_ids_of_shots_and_windows_follow_from_what_is_stored() -> None:
    wrong = [replace(SHOTS[0], id="s3"), replace(SHOTS[0], window_id="v")]
    assert subjects(compare_shot_ids([*SHOTS, *wrong])) == ["shot s3", "shot s1"]


@pytest.mark.parametrize(
    ("added", "wrong"),
    [
        (
            ClosedShots("w-3", "w", {100: 1}, ShotState.JUDGED, OLD),
            "has shots that batch w-1 has at the same",
        ),
        (
            ClosedShots("w-3", "w", {300: 1}, ShotState.WAITING, OLD),
            "has 1 shots that window w did not close",
        ),
        (
            ClosedShots("w-3", "w", {200: 3}, ShotState.WAITING, OLD),
            "has 1 shots that window w did not close",
        ),
        (
            ClosedShots("v-3", "w", {}, ShotState.JUDGED, OLD),
            "stored for window w, and has the id of another",
        ),
    ],
)
def test_a_batch_has_shots_that_its_window_closed_and_no_other_batch_has(
    added: ClosedShots, wrong: str
) -> None:
    (found,) = compare_shots([WINDOW], SHOTS, [*BATCHES, added], NOW, queued=False).imbalances
    assert found.subject == f"batch {added.batch_id}"
    assert found.wrong.startswith(wrong)


def test_a_batch_just_closed_may_be_newer_than_the_window_that_was_read() -> None:
    newer = ClosedShots("w-3", "w", {300: 1}, ShotState.WAITING, NOW)
    outcome = compare_shots([WINDOW], SHOTS, [*BATCHES, newer], NOW, queued=False)
    assert (outcome.total, outcome.under_way) == (0, 1)


def test_each_batch_has_a_window_until_its_shots_are_deleted() -> None:
    batches = [WindowOfBatch("w-1", "w", 1), WindowOfBatch("v-1", "v", 5), WindowOfBatch("u-1", "u", 0)]
    assert subjects(compare_batches_without_window(batches, {"w"}, 5)) == ["batch v-1", "batch u-1"]
    assert subjects(compare_batches_without_window(batches, {"w"}, 6)) == ["batch u-1"]


def test_shots_without_a_window_are_named() -> None:
    assert subjects(compare_shots([], SHOTS, [], NOW, queued=False)) == ["shot s1", "shot s2"]


# events


def event(number: int, published_at: int = 1, stored_at: int = OLD) -> StoredEvent:
    return StoredEvent(f"e{number}", number, number, stored_at, published_at)


def test_numbers_without_an_event_are_named_together() -> None:
    numbers = EventNumbers(1, [5, 6], 9, 8, {}, frozenset())
    outcome = compare_events([event(5), event(6)], numbers, NOW)
    assert outcome.imbalances == (
        Imbalance("event numbers 2 to 4", "3 numbers have no event"),
        Imbalance("event numbers 7 to 8", "2 numbers have no event"),
    )


def test_a_reserved_number_is_under_way_and_a_void_one_is_no_gap() -> None:
    numbers = EventNumbers(4, [5], 8, 7, {6: NOW}, frozenset({7}))
    outcome = compare_events([event(5)], numbers, NOW)
    assert (outcome.imbalances, outcome.under_way) == ((), 1)
    late = compare_events([event(5)], replace(numbers, reserved={6: OLD}), NOW)
    assert subjects(late) == ["event number 6"]


def test_an_event_that_the_broker_never_confirmed_is_named_when_it_is_old() -> None:
    numbers = EventNumbers(0, [1], 2, 1, {}, frozenset())
    assert compare_events([event(1, 0, NOW)], numbers, NOW).under_way == 1
    assert subjects(compare_events([event(1, 0)], numbers, NOW)) == ["event e1 (number 1)"]


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_number_that_was_never_given_out_is_named(number: int) -> None:
    numbers = EventNumbers(0, [number], 3, 2, {}, frozenset({1, 2}))
    (wrong,) = compare_events([event(number)], numbers, NOW).imbalances
    assert wrong == Imbalance(f"event e{number} (number {number})", "only the numbers 1 to 2 were given out")


def test_a_number_belongs_to_one_event() -> None:
    twice = [event(1), replace(event(1), id="x")]
    outcome = compare_events(twice, EventNumbers(0, [1, 1], 2, 1, {}, frozenset()), NOW)
    assert subjects(outcome) == ["event e1 (number 1)", "event x (number 1)"]
    reserved = compare_events([event(1)], EventNumbers(0, [1], 2, 1, {1: NOW}, frozenset()), NOW)
    assert subjects(reserved) == ["event number 1"]


def test_subscribers_see_the_number_under_which_an_event_is_stored() -> None:
    numbers = EventNumbers(0, [1], 2, 1, {}, frozenset())
    (wrong,) = compare_events([replace(event(1), published_number=3)], numbers, NOW).imbalances
    assert wrong.wrong == "subscribers see number 3"


# slices and sums


def test_a_check_names_a_hundred_imbalances_and_counts_the_others() -> None:
    held = [replace(HELD, key=f"2022-07-01/{n}") for n in range(NAMED + 7)]
    pages = [
        compare_folder("data", held[:60], [], (), (), NOW, 0),
        compare_folder("data", held[60:], [], (), (), NOW, 0),
    ]
    outcome = Outcome.of(pages)
    assert (len(outcome.imbalances), outcome.more, outcome.total) == (NAMED, 7, NAMED + 7)
    (summary,) = [each for each in summaries_of([Reconciled(INBOX, outcome, 9, 1, ())]) if each.slices]
    assert (summary.imbalances, summary.unchecked, summary.checked_at) == (NAMED + 7, 0, 9)


def test_slices_are_hours_and_of_folders_days() -> None:
    time = 1_656_662_400_123
    assert str(Slice.at(Equality.SHOTS, time)) == "shots 2022-07-01T08"
    day = Slice.at(Equality.OBJECTS, time)
    assert (str(day), Slice.of_folder("2022-07-01"), day.end - day.start) == (
        "objects 2022-07-01",
        day,
        DAY_MS,
    )
    assert [Slice.of_folder(name) for name in ("ignored", "2022-7-1", "2022-07-1", "20220701")] == [None] * 4
    before_1970 = Slice.of_folder("1969-12-31")
    assert before_1970 is not None
    assert (before_1970.start, before_1970.folder) == (-DAY_MS, "1969-12-31")
    assert day.overlaps(day.end - 1, day.end)
    assert not day.overlaps(day.end, day.end + 1)
    assert INBOX.overlaps(day.start, day.end)


# counting


class Counted:
    """An archive in which every millisecond an object arrives; it remembers which spans were counted."""

    def __init__(self, noted: int | None) -> None:
        self.ledger = self.reconciliations = self
        self.spans: list[tuple[int, int]] = []
        self._noted = noted

    async def noted_until(self) -> int | None:
        return self._noted

    async def tally(self, start: int, end: int) -> Tally:
        self.spans.append((start, end))
        return Tally({"ingested": end - start}, {}, 0)


def hour(n: int, under_way: int = 0, changed_at: int = 0) -> Reconciled:
    tally = Tally({"ingested": 7}, {"empty": 1}, 10)
    outcome = Outcome(under_way=under_way, tally=tally)
    return Reconciled(Slice(Equality.RECORDS, n * HOUR_MS), outcome, 5, 1, (), changed_at)


async def test_settled_hours_are_taken_from_their_check_and_others_are_counted() -> None:
    archive = Counted(noted=10 * HOUR_MS + 5)
    results = [hour(1), hour(2, under_way=1), hour(3, changed_at=6), hour(4)]
    tally = await tally_of(cast(Archive, archive), results, HOUR_MS, 11 * HOUR_MS)
    assert archive.spans == [
        (2 * HOUR_MS, 3 * HOUR_MS),
        (3 * HOUR_MS, 4 * HOUR_MS),
        (10 * HOUR_MS, 11 * HOUR_MS),
    ]
    assert (tally.states["ingested"], tally.reasons, tally.bytes) == (3 * HOUR_MS + 14, {"empty": 2}, 20)


async def test_parts_of_hours_are_counted_and_all_is_counted_when_nobody_ever_checked() -> None:
    archive = Counted(noted=10 * HOUR_MS)
    await tally_of(cast(Archive, archive), [hour(1), hour(2)], HOUR_MS + 1, 2 * HOUR_MS + 1)
    assert archive.spans == [(HOUR_MS + 1, 2 * HOUR_MS), (2 * HOUR_MS, 2 * HOUR_MS + 1)]
    archive = Counted(noted=None)
    await tally_of(cast(Archive, archive), [], 0, HOUR_MS)
    assert archive.spans == [(0, HOUR_MS)]
