"""Free TCP ports of the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(20_000, 32_768)
"""Ports that no outgoing connection takes, so that a server finds its own free again after a restart."""


class Ports:
    """Hands out free ports, none twice."""

    def __init__(self) -> None:
        self._untried = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))

    def take(self) -> int:
        """A port on which nothing listens now. Somebody else may still be faster to bind it."""
        while not is_free(port := self._untried.pop()):
            pass
        return port


def is_free(port: int) -> bool:
    """Whether a server could bind the port; one in TIME_WAIT counts as free, as servers reuse addresses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
