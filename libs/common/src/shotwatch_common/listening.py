"""Listen on a port that another process of the same user keeps bound."""

import socket


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens with SO_REUSEPORT.

    SO_REUSEADDR is set too: a port that still has connections of a dead server can be bound at once. The
    protocol is passed explicitly, because asyncio disables Nagle's algorithm only on sockets with a known
    protocol.

    Raises:
        OSError: another user, or a process without SO_REUSEPORT, has bound the port.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listening.setsockopt(socket.SOL_SOCKET, option, 1)
    listening.bind(address)
    listening.listen()
    return listening
