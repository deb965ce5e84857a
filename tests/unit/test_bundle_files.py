"""The digest of a bundle."""

import subprocess
from pathlib import Path

import pytest

from shotwatch_common.bundle_files import BUNDLE_FILES, digest_of

FILES = {name: name.encode() * 1000 for name in BUNDLE_FILES}


def test_the_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    command = "sha256sum autoencoder.tflite bundle.json cameras.npz | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert digest_of(FILES) == printed.stdout.split()[0]


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_every_file_and_which_one_it_is_counts(name: str) -> None:
    assert digest_of(FILES | {name: FILES[name] + b" "}) != digest_of(FILES)
    other = BUNDLE_FILES[BUNDLE_FILES.index(name) - 1]
    assert digest_of(FILES | {name: FILES[other], other: FILES[name]}) != digest_of(FILES)


def test_files_that_are_missing_or_too_many_have_no_digest() -> None:
    for files in ({}, {"bundle.json": b""}, FILES | {"more": b""}):
        with pytest.raises(ValueError, match=r"a bundle consists of bundle\.json, autoencoder\.tflite"):
            digest_of(files)
