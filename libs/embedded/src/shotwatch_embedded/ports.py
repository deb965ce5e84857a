"""TCP ports of the loopback interface that no other user of this machine can take."""

import asyncio
import random
import socket

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(20_000, 32_768)
"""Ports that the kernel assigns to no outgoing connection."""


class Ports:
    """The ports of one stack. Each stays bound until `release`, even while its server is down.

    Each port is kept by a socket that is bound but never listens. Clients are refused while no server runs.
    With SO_REUSEPORT on both sockets, a process with the same effective uid can still listen on the port.
    Linux refuses every other user, on 127.0.0.1 and on the wildcard addresses (`inet_bind_conflict` in
    net/ipv4/inet_connection_sock.c), because the socket that keeps the port does not set SO_REUSEADDR.
    """

    def __init__(self) -> None:
        self._untried = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))
        self._kept: list[socket.socket] = []

    def take(self) -> int:
        """Bind a free port and return it. The server that listens there must set SO_REUSEPORT."""
        while (kept := _bound(port := self._untried.pop())) is None:
            pass
        self._kept.append(kept)
        return port

    def release(self) -> None:
        """Release the ports, so that others can bind them."""
        for kept in self._kept:
            kept.close()


async def accepts_connections(port: int) -> bool:
    """Return whether somebody listens on the port. If not, this costs next to nothing."""
    with socket.socket() as client:
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, (LOOPBACK, port))
        except OSError:
            return False
    return True


def _bound(port: int) -> socket.socket | None:
    """Return a socket that keeps the port, or None if the port is already bound."""
    kept = socket.socket()
    try:
        kept.bind((LOOPBACK, port))
    except OSError:
        kept.close()
        return None
    # Set only after the bind. Set before, the bind would share the port with another stack of this user.
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return kept
