"""The errors of this client. Each names what was asked, what came back, and what to do next."""


class ShotwatchError(Exception):
    """A request that did not succeed."""

    def __init__(self, asked: str, reported: str, advice: str = "") -> None:
        """Create the error.

        Args:
            asked: the request or the argument.
            reported: what the server answered, or what is wrong.
            advice: what to do next.
        """
        super().__init__(_visible(f"{asked}: {reported}" + (f". {advice}" if advice else "")))


def _visible(text: str) -> str:
    """Return a text from outside with escapes for what a terminal would act on, such as in a traceback."""
    shown = (each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
    return "".join(shown)


class InvalidArgument(ShotwatchError, ValueError):
    """An argument that no request can be made of."""


class NotReachable(ShotwatchError):
    """A server that did not answer, or was too busy, in all attempts."""


class NotPermitted(ShotwatchError):
    """A key or token that is missing, unknown, expired or revoked, or that lacks the scope of the request."""


class NoData(ShotwatchError):
    """A shot, device, record or event that does not exist, or is no longer stored."""


class NotAccepted(ShotwatchError):
    """A request that the server did not accept: its arguments make no sense, or ask for too much."""


class UnexpectedAnswer(ShotwatchError):
    """An answer that is not one of this API, or is larger than what was asked for."""


class EventsReset(UserWarning):
    """The database of events was emptied, or an older copy was restored: their numbers begin anew."""


class MissingRecords(UserWarning):
    """Some of the shots that were asked for have no readable record of the device."""
