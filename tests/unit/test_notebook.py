"""The notebook for researchers has the text and the code of its page."""

import json
from typing import Any

from markdown_it import MarkdownIt
from notebook import NOTEBOOK, PAGE, notebook_of


def test_the_notebook_is_up_to_date() -> None:
    assert NOTEBOOK.read_text(encoding="utf-8") == notebook_of(PAGE.read_text(encoding="utf-8"))


def test_its_cells_are_the_blocks_of_the_page() -> None:
    """A parser of Markdown finds the same code."""
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    blocks = MarkdownIt().parse(PAGE.read_text(encoding="utf-8"))
    fences = [each for each in blocks if each.type == "fence"]
    assert code == [each.content.rstrip("\n") for each in fences if each.info == "python"]
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert "```" not in text
