"""Write docs/researchers.ipynb, the notebook of docs/researchers.md: the same text and the same code."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, NOTEBOOK = ROOT / "docs" / "researchers.md", ROOT / "docs" / "researchers.ipynb"
_CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def notebook_of(page: str) -> str:
    """Return a page of Markdown as a notebook: a cell for each block of Python, and for the text between."""
    document = {
        "cells": list(_cells(page)),
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cells(page: str) -> Iterator[dict[str, object]]:
    # `split` returns text, code, text, … with a group in its pattern.
    for number, text in enumerate(_CODE.split(page)):
        source = text.strip("\n").splitlines(keepends=True)
        if source:
            yield _cell(number, source, is_code=number % 2 == 1)


def _cell(number: int, source: Sequence[str], *, is_code: bool) -> dict[str, object]:
    cell: dict[str, object] = {"id": f"cell-{number}", "metadata": {}, "source": source}
    if is_code:
        return {"cell_type": "code", **cell, "execution_count": None, "outputs": []}
    return {"cell_type": "markdown", **cell}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook_of(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
