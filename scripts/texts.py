"""The texts in which English is checked: prose of documents, docstrings and comments; messages; names."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from markdown_it import MarkdownIt


@dataclass(frozen=True)
class Text:
    """A paragraph of prose, a message, or a name, and the line on which it begins."""

    kind: str
    line: int
    text: str


def of_markdown(source: str) -> Iterator[Text]:
    """Yield each paragraph and table cell, with a placeholder for code."""
    for token in MarkdownIt().enable("table").parse(source):
        if token.type == "inline":
            parts = {"text": "{}", "code_inline": "``", "softbreak": " "}
            text = "".join(parts.get(each.type, "").format(each.content) for each in token.children or ())
            yield Text("prose", (token.map or [0])[0] + 1, text)


def of_python(source: str) -> Iterator[Text]:
    """Yield the paragraphs of docstrings and comments, the messages, and each name once."""
    tree = ast.parse(source)
    prose: dict[int, str] = {}
    names: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Module():
                if ast.get_docstring(node):
                    prose[id(node.body[0].value)] = _kind(node)  # type: ignore[attr-defined]
                if not isinstance(node, ast.Module):
                    names.setdefault(node.name, node.lineno)
            case ast.Expr(value=ast.Constant(value=str())):
                prose.setdefault(id(node.value), "prose")
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                names.setdefault(name, node.lineno)
    yield from (Text("name", line, name) for name, line in names.items())
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            if id(node) in prose:
                yield from _paragraphs(prose[id(node)], node.lineno, node.value)
            else:
                yield Text("message", node.lineno, node.value)
    yield from _comments(source)


def _kind(node: ast.AST) -> str:
    """Return the kind of a docstring. Properties and modules need no verb at the beginning."""
    if isinstance(node, ast.ClassDef):
        return "class"
    decorators = {ast.unparse(each) for each in getattr(node, "decorator_list", [])}
    is_function = not isinstance(node, ast.Module) and not decorators & {"property", "cached_property"}
    return "function" if is_function else "prose"


def _paragraphs(kind: str, line: int, text: str) -> Iterator[Text]:
    """Yield the paragraphs and list items of a docstring, without code; the first is of the kind."""
    end = 0
    for part in re.split(r"(\n\s*(?:\n|(?=- )|(?=[\w, ]+: )|(?:Args|Returns|Raises|Yields):\n))", text):
        begin, end = end, end + len(part)
        if part.strip():
            yield Text(
                kind, line + text.count("\n", 0, begin), " ".join(re.sub("`[^`]*`", "``", part).split())
            )
            kind = "prose"


def _comments(source: str) -> Iterator[Text]:
    """Yield the comments, adjacent lines as one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    for _, block in groupby(enumerate(comments), key=lambda each: each[1][0] - each[0]):
        lines = [comment for _, comment in block if not re.match("# (noqa|type:)", comment[1])]
        if lines:
            text = " ".join(comment.strip("# ") for _, comment in lines)
            yield Text("prose", lines[0][0], re.sub("`[^`]*`", "``", text))
