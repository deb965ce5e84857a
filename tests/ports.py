"""Ports of the servers that tests run by themselves."""

import socket

from shotwatch_embedded.ports import LOOPBACK, Ports

PORTS = Ports()
"""For servers that set SO_REUSEPORT, as those of the embedded stack; kept until the tests end."""
_kept: list[socket.socket] = []


def free_port() -> int:
    """Return a port for a server that sets SO_REUSEADDR alone, as most do; no stack takes it."""
    kept = socket.socket()
    kept.bind((LOOPBACK, 0))
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.append(kept)
    port: int = kept.getsockname()[1]
    return port
