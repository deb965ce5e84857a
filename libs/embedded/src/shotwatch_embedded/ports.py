"""TCP ports of the loopback interface that nobody else on this machine can take."""

import random
import socket

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(20_000, 32_768)
"""Ports that the kernel gives to no outgoing connection."""


class Ports:
    """The ports of one stack, each kept bound until `release`, also while its server is down.

    A socket that is bound but never listens keeps each port. Clients are refused while no server runs. With
    SO_REUSEPORT on both sockets, a process with the same effective uid can listen on the port all the same.
    Linux refuses every other user, on 127.0.0.1 and on the wildcard addresses (`inet_bind_conflict` in
    net/ipv4/inet_connection_sock.c), since the socket that keeps the port is without SO_REUSEADDR.
    """

    def __init__(self) -> None:
        self._untried = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))
        self._kept: list[socket.socket] = []

    def take(self) -> int:
        """Bind a port that nobody has bound, and return it. Whoever listens there must set SO_REUSEPORT."""
        while (kept := _bound(port := self._untried.pop())) is None:
            pass
        self._kept.append(kept)
        return port

    def release(self) -> None:
        """Let others bind the ports."""
        for kept in self._kept:
            kept.close()


def _bound(port: int) -> socket.socket | None:
    """Return a socket that keeps the port; None if somebody has bound it."""
    kept = socket.socket()
    try:
        kept.bind((LOOPBACK, port))
    except OSError:
        kept.close()
        return None
    # not before the bind, which would then share the port with another stack of this user
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return kept
