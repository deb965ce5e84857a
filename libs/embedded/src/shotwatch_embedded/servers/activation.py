"""Pass a listening socket to a server, as systemd does (sd_listen_fds(3)).

    python activation.py HOST PORT COMMAND…

It is for servers that cannot set SO_REUSEPORT themselves. Run as a program, this module imports only the
standard library, and replaces itself by the server.
"""

import os
import socket
import sys
from collections.abc import Sequence

_FIRST_FD = 3
"""Descriptor at which the server expects the first socket."""


def activated(host: str, port: int, command: Sequence[str]) -> tuple[str, ...]:
    """Return a command that runs `command` with a socket that listens on the port."""
    return (sys.executable, "-I", "-S", __file__, host, str(port), *command)


def _become(host: str, port: int, command: list[str]) -> None:
    listener = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind((host, port))
    listener.listen()
    os.dup2(listener.fileno(), _FIRST_FD)
    os.set_inheritable(_FIRST_FD, True)  # dup2 does not set this if the socket already had this number
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _become(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
