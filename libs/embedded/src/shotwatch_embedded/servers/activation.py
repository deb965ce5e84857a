"""Hand a server the socket that it listens on, as systemd does (sd_listen_fds(3)).

    python activation.py HOST PORT COMMAND…

For servers that cannot set SO_REUSEPORT by themselves. Run as a program this module imports the standard
library only, and becomes the server.
"""

import os
import socket
import sys
from collections.abc import Sequence

_FIRST_FD = 3
"""Where the receiver expects the first socket."""


def activated(host: str, port: int, command: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs `command` with a socket that listens on the port."""
    return (sys.executable, "-I", "-S", __file__, host, str(port), *command)


def _become(host: str, port: int, command: list[str]) -> None:
    listener = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind((host, port))
    listener.listen()
    os.dup2(listener.fileno(), _FIRST_FD)
    os.set_inheritable(_FIRST_FD, True)  # dup2 leaves it as it is where the socket had this number already
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _become(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
