"""docs/security.md names a test for each attack: each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:unit|integration|fuzz|chaos|e2e)/[\w/]+\.py(?:::\w+)?)`", PAGE)))
ATTACKS = [row.split("|") for row in PAGE.partition("## Files")[2].splitlines() if row.startswith("| ")]
HEADS = ("attack", "secret", "---")


def test_many_tests_are_named() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_exists(named: str) -> None:
    path, _, function = named.partition("::")
    file = ROOT / "tests" / path
    assert file.is_file()
    assert not function or re.search(rf"^(async )?def {function}\(", file.read_text(), re.MULTILINE)


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[1].strip())
def test_an_attack_has_a_test(row: list[str]) -> None:
    assert row[1].strip() in HEADS or ".py" in row[-2]
