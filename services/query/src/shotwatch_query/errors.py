"""Errors by what the client is told about them; problems.py says how."""

from shotwatch_shots.vocabulary import Scope


class NotAdmitted(Exception):
    """Nobody knows who asks; the message says why."""

    def __init__(self, why: str, shown: bool = False) -> None:
        """
        Args:
            shown: whether a key or token was shown.
        """
        super().__init__(why)
        self.shown = shown


class Forbidden(Exception):
    """The caller may not; the message names the scope that is missing."""

    def __init__(self, why: str, scope: Scope) -> None:
        super().__init__(why)
        self.scope = scope


class NotFound(LookupError):
    """What was asked for does not exist; the message names it."""


class BadRequest(ValueError):
    """The request makes no sense; the message says why."""


class Full(Exception):
    """There is as much of something as there may be; the message names the limit."""


class Unavailable(Exception):
    """A server behind this one is away; the same request may succeed later."""


class TooMany(Exception):
    """The caller asks too often, or for too much at a time; the message names the limit."""

    def __init__(self, why: str, wait_s: float) -> None:
        """
        Args:
            wait_s: after how long (s) the same request may succeed.
        """
        super().__init__(why)
        self.wait_s = wait_s
