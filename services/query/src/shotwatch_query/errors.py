"""Errors by what the client is informed of; problems.py converts them to responses."""

from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.vocabulary import Scope


class NotAdmitted(Exception):
    """The caller is not known; the message gives the reason."""

    def __init__(self, why: str, shown: bool = False) -> None:
        """Set the message.

        Args:
            shown: whether a key or token was presented.
        """
        super().__init__(why)
        self.shown = shown


class Forbidden(Exception):
    """The caller lacks a right; the message names the missing scope."""

    def __init__(self, why: str, scope: Scope) -> None:
        super().__init__(why)
        self.scope = scope


class NotFound(LookupError):
    """The requested thing does not exist; the message names it."""


class BadRequest(ValueError):
    """The request is invalid; the message gives the reason."""


class BadExpression(BadRequest):
    """An expression of the request is invalid; `excerpt` shows the place."""

    def __init__(self, parameter: str, error: ExpressionError) -> None:
        super().__init__(f"{parameter}: {error}")
        self.excerpt = error.excerpt


class Full(Exception):
    """A limit on the number of something is reached; the message names the limit."""


class Unavailable(Exception):
    """A server behind this one is unavailable; the same request may succeed later."""


class NotInstalled(Exception):
    """An optional package that the response needs is absent; the message names what to install."""


class TooMany(Exception):
    """The caller exceeds a limit of rate or size; the message names the limit."""

    def __init__(self, why: str, wait_s: float) -> None:
        """Set the message.

        Args:
            wait_s: time after which the same request may succeed, in seconds.
        """
        super().__init__(why)
        self.wait_s = wait_s
