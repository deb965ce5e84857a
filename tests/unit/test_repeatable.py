"""Property tests get the same examples whatever ran before them, so `make test` has one result everywhere."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

A_CONSTANT = 738_459_216


def integers_drawn() -> list[int]:
    drawn = []

    @settings(settings.get_profile("fixed"), max_examples=500)
    @given(st.integers())
    def draw(number: int) -> None:
        drawn.append(number)

    draw()
    return drawn


def test_examples_are_the_same_after_other_modules_were_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = integers_drawn()
    made = ModuleType("made")
    made.__file__ = str(tmp_path / "made.py")
    Path(made.__file__).write_text(f"NUMBERS = {[A_CONSTANT + n for n in range(100)]}\n")
    monkeypatch.setitem(sys.modules, "made", made)
    assert integers_drawn() == before
