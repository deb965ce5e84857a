"""The tokens of an expression."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from shotwatch_shots.expressions.errors import ExpressionError

KEYWORDS = frozenset({"and", "or", "not", "between", "in", "is", "true", "false"})
"""Words that are not names of columns unless they are in quotes.

`missing` may be one: it has a meaning only after `is`."""


class TokenKind(StrEnum):
    """The kind of a token."""

    TIME = "time"
    NUMBER = "number"
    TEXT = "text"
    QUOTED_NAME = "quoted"
    NAME = "name"
    SYMBOL = "symbol"
    END = "end"


_TOKEN = re.compile(
    r"""(?P<time>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?)?(?![\w.:]))
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<name>[A-Za-z_]\w*(?:\.\w+)*)
    | (?P<symbol><=|>=|!=|<>|==|[-+*/(),<>=])""",
    re.ASCII | re.VERBOSE,
)
_BLANK = re.compile(r"[ \t\r\n]*")
_REST = re.compile(r"[^\s]{1,30}")
_UNENDED = {"'": "this text has no closing '", '"': 'this name has no closing "'}


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place in the text."""

    kind: TokenKind
    text: str
    """The content: without quotes; keywords and symbols as they are compared."""
    start: int
    end: int

    def is_keyword(self, *words: str) -> bool:
        return self.kind is TokenKind.NAME and self.text in words

    def is_symbol(self, *symbols: str) -> bool:
        return self.kind is TokenKind.SYMBOL and self.text in symbols


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text, then one of the kind END.

    Raises:
        ExpressionError: the text has something that is not a token.
    """
    at = 0
    while (at := _after_blanks(text, at)) < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _no_token(text, at)
        kind = TokenKind(found.lastgroup or "")
        yield Token(kind, _content(kind, found[0]), at, found.end())
        at = found.end()
    yield Token(TokenKind.END, "", len(text), len(text))


def quoted_name(name: str) -> str:
    """Return the name of a column as an expression must write it."""
    found = _TOKEN.fullmatch(name)
    plain = found is not None and found.lastgroup == TokenKind.NAME and name.lower() not in KEYWORDS
    return name if plain else '"' + name.replace('"', '""') + '"'


def _after_blanks(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _content(kind: TokenKind, text: str) -> str:
    match kind:
        case TokenKind.TEXT:
            return text[1:-1].replace("''", "'")
        case TokenKind.QUOTED_NAME:
            return text[1:-1].replace('""', '"')
        case TokenKind.NAME if text.lower() in KEYWORDS:
            return text.lower()
    return text


def _no_token(text: str, at: int) -> ExpressionError:
    if text[at] in _UNENDED:
        return ExpressionError(text, at, at + 1, _UNENDED[text[at]])
    rest = _REST.match(text, at)
    end = rest.end() if rest and text[at].isdecimal() else at + 1
    what = "number" if text[at].isdecimal() else "character that expressions have outside quotes"
    return ExpressionError(text, at, end, f"this is no {what}")
