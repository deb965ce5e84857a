"""Free TCP ports of the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(20_000, 32_768)
"""Ports that no outgoing connection takes, so that a server finds its own free again after a restart."""


_claims: list[socket.socket] = []
"""UDP sockets of the ports that this process has handed out: what no other process of ours hands out too."""


class Ports:
    """Hands out free ports, none twice."""

    def __init__(self) -> None:
        self._untried = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))

    def take(self) -> int:
        """A port on which nothing listens now. A stranger may still be faster to bind it; another stack on
        this machine is not.
        """
        while not (is_free(port := self._untried.pop()) and _claim(port)):
            pass
        return port


def _claim(port: int) -> bool:
    """Take the UDP port of that number until this process ends; whether nobody has it."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((LOOPBACK, port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def is_free(port: int) -> bool:
    """Whether a server could bind the port; one in TIME_WAIT counts as free, as servers reuse addresses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
