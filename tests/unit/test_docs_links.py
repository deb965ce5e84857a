"""Links of the documents: the files and headings that they name exist."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "libs", "services", "tools", "cli", "deploy", "facilities", "tests")
PAGES = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
SCHEMAS = ROOT / "docs" / "schemas"


def tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """Yield the targets of the relative links and images of a page."""
    for token in tokens(page):
        for part in token.children or ():
            target = str(part.attrs.get("href") or part.attrs.get("src") or "")
            if target and not re.match("[a-z]+:", target):
                yield target


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found = tokens(page)
    texts = [after.content for token, after in pairwise(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def broken(page: Path) -> Iterator[str]:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in headings(file)):
            yield target


def test_the_pages_have_links() -> None:
    assert sum(1 for page in PAGES for _ in links(page)) > 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_every_schema_has_a_row_in_the_table_and_every_row_a_schema() -> None:
    rows = [line for line in (SCHEMAS / "README.md").read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w.]+\.json)`", row)}
    assert named == {path.name for path in SCHEMAS.glob("*.json")}
