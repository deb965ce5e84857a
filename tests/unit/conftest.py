"""What holds for all unit tests."""

import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def temporary_files_are_private(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Tests that fit networks would import from `/tmp` what another user put there (ADR 23)."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.getbasetemp())
    yield
    tempfile.tempdir = before
