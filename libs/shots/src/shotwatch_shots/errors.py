"""Errors, named by what must be done about them."""


class Retry(Exception):
    """A transient error: the same message may succeed later (a server is unavailable, a disk is full)."""


class Reject(Exception):
    """An error in the input: it is recorded with its reason and never retried.

    `reason` is a term of `vocabulary`; the message names the file, the place in it, and what is wrong.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Bug(Exception):
    """An error in our code: the message is dead-lettered at once, with an error in the log.

    Any exception that is neither Retry nor Reject counts as a Bug.
    """
