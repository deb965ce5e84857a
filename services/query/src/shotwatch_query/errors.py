"""Errors by what the client is told about them; problems.py says how."""


class NotFound(LookupError):
    """What was asked for does not exist; the message names it."""


class BadRequest(ValueError):
    """The request makes no sense; the message says why."""


class Unavailable(Exception):
    """A server behind this one is away; the same request may succeed later."""
