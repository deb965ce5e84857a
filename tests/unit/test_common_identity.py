"""Keys in the store: any store takes them, and different names never share one."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shotwatch_shots.identity import (
    block_key,
    fitting_key,
    fitting_name,
    ignored_key,
    raw_key,
    reason_key,
    rejected_key,
    versioned_key,
)

DAY = datetime(2022, 7, 1, 7, 33, tzinfo=UTC)
MOST_BYTES_OF_A_FILE_NAME = 255
MOST_BYTES_OF_A_KEY = 1024
WRITTEN_BESIDE = len(".reason.json") + len(".xxxxxxxx.partial")
"""What is added to a name: our suffix, and what rclone adds while it writes."""

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)
MD5 = "9a0364b9e99bb480dd25e1f0284c8555"
etags = st.one_of(st.sampled_from([MD5, f"{MD5}-3"]), st.text(min_size=1, max_size=80))
keys = st.lists(texts, min_size=1, max_size=6).map("/".join).filter(lambda key: len(key.encode()) <= 1024)


@pytest.mark.parametrize(
    "key",
    [
        "LA_CameraComputer02-Recorder_60s_snapshot_2022-07-01_07-33-00.h5",
        "unusual folder/ü+%/readme.txt",
        "a" * 200,
    ],
)
def test_an_ordinary_key_stays_as_it_is(key: str) -> None:
    assert fitting_key(key) == key


@given(keys, etags)
@example("../../elsewhere/x.h5", MD5)
@example("a//b/./c", "../..")
@example("LA_" + "c" * 240 + ".h5", f"{MD5}-10000")
@example("/".join("d" * 150 for _ in range(6)), MD5)
@example("\x1b[31m\x00.h5", "\x1b[31m\x00/")
def test_every_key_fits_below_its_folder(key: str, etag: str) -> None:
    targets = (
        raw_key(DAY, key, etag),
        ignored_key(DAY, key, etag),
        reason_key(rejected_key(DAY, "not_a_snapshot", key, etag)),
    )
    for target in targets:
        assert len(target.encode()) <= MOST_BYTES_OF_A_KEY
        for part in target.split("/"):
            assert 0 < len(part.encode()) <= MOST_BYTES_OF_A_FILE_NAME - WRITTEN_BESIDE
            assert part not in (".", "..")
            assert not any(ord(character) < 32 for character in part)


@given(keys, keys)
def test_different_keys_never_share_a_place(one: str, other: str) -> None:
    assert (fitting_key(one) == fitting_key(other)) == (one == other)


@given(keys, etags, keys, etags)
@example("a.h5", "x", "a@x.h5", "x")
@example("a.h5", "x@y", "a@x.h5", "y")
@example("a@x.h5", "y", "a.h5", "x")
@example("a" * 200 + ".h5", MD5, "a" * 201 + ".h5", MD5)
def test_different_versions_never_share_a_place(one: str, of_one: str, other: str, of_other: str) -> None:
    same = (one, of_one) == (other, of_other)
    assert (versioned_key(one, of_one) == versioned_key(other, of_other)) == same


@pytest.mark.parametrize(
    ("etag", "version"),
    [(MD5, MD5), (f"{MD5}-3", f"{MD5}-3"), ("../x", "~"), ("a" * 41, "~"), ("-3", "~"), ("\u202e", "~")],
)
def test_a_version_stands_before_the_extension_and_an_unusual_one_as_its_digest(
    etag: str, version: str
) -> None:
    key = raw_key(DAY, "LA_Camera_60s_snapshot_2022-07-01_07-33-00.h5", etag)
    assert key.startswith(f"2022-07-01/LA_Camera_60s_snapshot_2022-07-01_07-33-00@{version}")
    assert key.endswith(".h5")
    assert key.count("/") == 1


def test_nobody_can_name_a_file_as_another_one_is_shortened() -> None:
    long = "LA_" + "c" * 240 + ".h5"
    assert fitting_key(fitting_key(long)) != fitting_key(long)


def test_a_shortened_name_can_be_recognised() -> None:
    short = fitting_name("LA_" + "c" * 240 + "_1s_snapshot_2024-03-06_06-32-00.h5")
    assert short.startswith("LA_ccc")
    assert short.endswith(".h5")
    assert block_key(DAY, "0123", "LA_A2-" + "q" * 249).startswith("2022-07-01/0123/LA_A2-qqq")
