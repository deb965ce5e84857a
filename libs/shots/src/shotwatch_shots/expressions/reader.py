"""A text that is read token by token, within limits."""

from collections.abc import Iterator
from contextlib import contextmanager

from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.tokens import Token, TokenKind, tokens

LONGEST = 4000
"""Maximum length of an expression in characters."""
DEEPEST = 30
"""Maximum depth of brackets, functions and operators."""
MOST_NODES = 300
"""Maximum number of constants, columns and functions in an expression."""


class TokenReader:
    """The tokens of a text, from the current one on."""

    def __init__(self, text: str) -> None:
        """Begin at the first token.

        Raises:
            ExpressionError: the text is too long, or begins with no token.
        """
        if len(text) > LONGEST:
            raise ExpressionError(text[: LONGEST + 1], LONGEST, LONGEST, f"longer than {LONGEST} characters")
        self.text = text
        self._tokens = tokens(text)
        self.current = next(self._tokens)
        self.end = 0
        """Index after the token before the current one."""
        self._depth = 0
        self._nodes = 0

    @property
    def operator(self) -> str:
        """The current token, if it can be an operator."""
        token = self.current
        return token.text if token.kind in (TokenKind.SYMBOL, TokenKind.NAME) else ""

    def next(self) -> Token:
        """Return the current token, and go on to the one after it."""
        token = self.current
        self.end = token.end
        if token.kind is not TokenKind.END:
            self.current = next(self._tokens)
        return token

    def take(self, text: str) -> None:
        """Read the current token, and continue with the next one.

        Raises:
            ExpressionError: the current one is not this symbol or keyword.
        """
        if not (self.current.is_symbol(text) or self.current.is_keyword(text)):
            raise self.error(self.current, f"here `{text}` is expected")
        self.next()

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Read a part of the text that is nested in another one.

        Raises:
            ExpressionError: it is nested too deep.
        """
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.error(self.current, f"nested more than {DEEPEST} deep")
        yield
        self._depth -= 1

    def count(self, nodes: int) -> None:
        """Add to the number of nodes.

        Raises:
            ExpressionError: there are too many.
        """
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise self.error(self.current, f"more than {MOST_NODES} values and functions")

    def require_end(self) -> None:
        """Require that the text ends here.

        Raises:
            ExpressionError: it goes on.
        """
        if self.current.kind is not TokenKind.END:
            after_name = self.current.kind in (TokenKind.NAME, TokenKind.NUMBER, TokenKind.QUOTED_NAME)
            hint = "; a name with other characters than letters, digits, _ and . is written in double quotes"
            expected = "here an operator or the end is expected"
            raise self.error(self.current, expected + (hint if after_name else ""))

    def error(self, token: Token, reason: str) -> ExpressionError:
        """Return an error at a token."""
        return ExpressionError(self.text, token.start, token.end, reason)
