"""Errors named by what must be done about them."""


class Retry(Exception):
    """Transient: the same message may succeed later (a server is away, a disk is full)."""


class Reject(Exception):
    """The input's fault: recorded with its reason, never retried.

    `reason` is a term of `vocabulary`; the message says the file, the place in it and what is wrong.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Bug(Exception):
    """Ours: parked at once, loudly. Anything that is neither Retry nor Reject counts as one."""
