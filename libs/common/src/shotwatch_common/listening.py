"""Listen on a port that another process of the same user keeps bound."""

import socket


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens with SO_REUSEPORT.

    SO_REUSEADDR is set too: a port with connections of a server that died can be bound at once. The protocol
    is named because asyncio turns off Nagle's algorithm only where it is.

    Raises:
        OSError: another user has bound the port, or a process that did not set SO_REUSEPORT.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listening.setsockopt(socket.SOL_SOCKET, option, 1)
    listening.bind(address)
    listening.listen()
    return listening
