"""What a dead-lettered message is about, whatever its stage."""

import pytest

from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.subjects import Subject, subject_of
from shotwatch_shots.batch import ShotBatch, ShotsFlagged, ShotsMeasured
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import FileIngested, FileValidated, ObjectRef

ARRIVED = ArrivedObject("inbox", "LA a+b.h5", "etag", 7, 1_656_660_780_000)
OBJECT = Subject(objects=(ARRIVED.ref,))
SHOTS = ShotBatch(
    batch_id="window-1",
    window_id="window",
    series=ShotSeries.parse("LA-A1-11-100ms"),
    pulses=[1],
    revisions=[1],
    complete=[True],
    members=[],
    last_arrival=1,
)


def ref() -> ObjectRef:
    return ARRIVED.ref


def test_an_object_event_is_about_the_object_that_it_names() -> None:
    assert subject_of(build_notification(ARRIVED)) == OBJECT


@pytest.mark.parametrize(
    "message", [FileIngested(object=ref(), devices=[]), FileValidated(object=ref(), devices=[])]
)
def test_a_message_about_a_file_is_about_its_object(message: FileIngested | FileValidated) -> None:
    assert subject_of(message.model_dump_json().encode()) == OBJECT


@pytest.mark.parametrize("message", [SHOTS, ShotsMeasured(shots=SHOTS)])
def test_a_message_about_shots_is_about_their_batch(message: ShotBatch | ShotsMeasured) -> None:
    assert subject_of(message.model_dump_json().encode()) == Subject(batches=("window-1",))


def test_a_detailed_measurement_that_fails_leaves_its_shots_judged() -> None:
    assert subject_of(ShotsFlagged(batch_id="window-1", shots=[0]).model_dump_json().encode()) == Subject()


@pytest.mark.parametrize("body", [b"", b"garbage", b"{}", b'{"object": null}', b"[" * 100_000, b"\xff\x00"])
def test_what_is_no_message_of_ours_is_about_nothing(body: bytes) -> None:
    assert subject_of(body) == Subject()
