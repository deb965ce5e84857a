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


def of_script(source: str) -> Iterator[Text]:
    """Yield the comments, the messages and the names of a JavaScript source."""
    for line, text in enumerate(source.splitlines(), 1):
        code, _, comment = re.sub(r"^\s*/?\*+ ", "// ", text).partition("// ")
        if comment:
            yield Text("prose", line, _without_code(comment.removesuffix("*/")))
        for quoted in re.findall(r""""[^"]*"|'[^']*'|`[^`]*`""", code):
            if " " in quoted:
                yield Text("message", line, re.sub(r"\$\{[^}]*\}", "{}", quoted))
        yield from (Text("name", line, each) for each in re.findall(r"\b(?:function|const|let) (\w+)", code))


def of_page(source: str) -> Iterator[Text]:
    """Yield what a reader of an HTML page sees."""
    for line, text in enumerate(source.splitlines(), 1):
        yield from (Text("prose", line, each) for each in re.findall(r">([^<>]*\w[^<>]*)", text))


def of_comments(source: str) -> Iterator[Text]:
    """Yield the comments of a manifest, a Makefile or a shell script, adjacent lines of them as one."""
    comments = [re.search(r"(^ *|\s)#+ (.*)$", line) for line in source.splitlines()]
    found = [(line, each) for line, each in enumerate(comments, 1) if each]
    adjacent = groupby(enumerate(found), key=lambda each: (each[1][0] - each[0], each[1][1].start() > 0))
    for _, block in adjacent:
        lines = [each for _, each in block]
        yield Text("prose", lines[0][0], _without_code(" ".join(each[2] for _, each in lines)))


def _without_code(text: str) -> str:
    return re.sub("`[^`]*`", "``", text)


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
    for part in re.split(r"(\n\s*(?:\n|(?=[-|] )|(?=[\w, ]+: )|(?:Args|Returns|Raises|Yields):\n))", text):
        begin, end = end, end + len(part)
        if part.strip():
            yield Text(kind, line + text.count("\n", 0, begin), " ".join(_without_code(part).split()))
            kind = "prose"


def _comments(source: str) -> Iterator[Text]:
    """Yield the comments, adjacent lines as one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    for _, block in groupby(enumerate(comments), key=lambda each: each[1][0] - each[0]):
        lines = [comment for _, comment in block if not re.match("# (noqa|type:)", comment[1])]
        if lines:
            text = " ".join(comment.strip("# ") for _, comment in lines)
            yield Text("prose", lines[0][0], _without_code(text))
