"""The error that an expression causes, with the place in its text."""


class ExpressionError(ValueError):
    """An error in an expression; `str()` names the line, the column and the reason."""

    def __init__(self, text: str, start: int, end: int, reason: str) -> None:
        """Set the place and the reason.

        Args:
            text: the whole expression.
            start: index of the first wrong character.
            end: index after the last wrong character.
            reason: what is wrong, and what to write instead.
        """
        self.start = start
        """Index of the first wrong character in the text."""
        self.reason = reason
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", start)
        self.line = text[first : len(text) if last < 0 else last]
        """The line with the error."""
        self.column = start - first
        """Number of characters before the error in its line."""
        self.length = max(min(end, first + len(self.line)) - start, 1)
        """Number of characters that are wrong."""
        number = text.count("\n", 0, start) + 1
        super().__init__(f"line {number}, column {self.column + 1}: {reason}")

    @property
    def excerpt(self) -> tuple[str, str]:
        """The line with the error, and a line with carets below it."""
        return self.line, " " * self.column + "^" * self.length
