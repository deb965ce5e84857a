"""SecantusDB with one account, which needs its password (SCRAM-SHA-256).

    SECANTUS_PASSWORD=… python -m shotwatch_embedded.servers.secantus_server --user U --storage-path FOLDER …

SecantusDB's own command line cannot do this: it creates accounts only over the wire, and a server that
requires a password refuses the client that would create the first account. Here the account is written at
every start, before the server listens, so a new password replaces the old one.

A write is acknowledged once it is durable. SecantusDB's own option for this (`sync_on_commit`) waits for the
disk while it holds the lock of the collection, so the writes to a collection become durable one after the
other. Here the lock is free meanwhile, and writes that wait at the same time become durable together. Before
that, other clients may read them, as with MongoDB.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from secantus import server as secantus_server
from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.commands import CommandContext, dispatch
from secantus.connreg import ConnectionRegistry
from secantus.server import SecantusDBServer
from secantus.storage import wt

from shotwatch_common.listening import listener
from shotwatch_embedded.servers.secantus_limits import LimitedStorage
from shotwatch_embedded.servers.secantus_storage import keep_codes

_ACCOUNTS = "admin"
"""The database in which MongoDB's clients expect accounts."""
_ROLE = "readWriteAnyDatabase"
_MOST_OF_STRANGERS = 64 * 1024
"""Maximum length of a message before the login, in bytes. Those of a login are far smaller."""
_READS = frozenset(("count", "distinct", "find", "getMore", "hello", "isMaster", "ismaster", "ping"))
"""Commands that write nothing."""


class _Connection(socket.socket):
    """A connection that reads large messages only after the login.

    SecantusDB reads a message before it checks who sent it, and asks for all of it in one call of `recv`,
    which reserves the memory.
    """

    logged_in: Callable[[], bool]

    def recv(self, most: int, flags: int = 0) -> bytes:
        """Read up to `most` bytes.

        Raises:
            ConnectionAbortedError: these are too many before the login; SecantusDB then closes it.
        """
        if most > _MOST_OF_STRANGERS and not self.logged_in():
            raise ConnectionAbortedError(f"a message of over {_MOST_OF_STRANGERS} bytes before the login")
        return super().recv(most, flags)


class _Connections(ConnectionRegistry):  # type: ignore[misc]  # it has no types
    """The open connections, each of which can find out whether it has logged in."""

    def open(self, peer_addr: tuple[str, int], sock: _Connection) -> int:
        """Register a connection, and return its number."""
        number: int = super().open(peer_addr, sock)
        sock.logged_in = lambda: self.get(number).user is not None
        return number


class _Server(SecantusDBServer):  # type: ignore[misc]  # it has no types
    """SecantusDB on a port that the stack keeps bound: the class has no parameter for SO_REUSEPORT.

    Nor has it one for the length of messages before the login.
    """

    def start(self) -> None:
        """Listen, and serve in a thread."""
        self._socket = listener(self.host, self.port)
        self._thread = threading.Thread(target=self._serve_forever, name="secantus-accept", daemon=True)
        self._thread.start()

    def _handle_client(self, conn: socket.socket, addr: tuple[str, int]) -> None:
        timeout_s = conn.gettimeout()
        connection = _Connection(conn.family, conn.type, conn.proto, conn.detach())
        connection.settimeout(timeout_s)
        super()._handle_client(connection, addr)


def _dispatch_durably(command: Mapping[str, Any], context: CommandContext) -> Any:
    """Execute a command, and return its reply once all that it wrote is durable; an error if that fails."""
    with context.storage.command():
        reply = dispatch(command, context)
    if next(iter(command), "") not in _READS:
        try:
            context.storage._session().log_flush("sync=on")
        except wt.WiredTigerError as error:
            return {"ok": 0.0, "errmsg": f"not durable: {error}", "code": 1, "codeName": "InternalError"}
    return reply


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    secantus_server.dispatch = _dispatch_durably
    secantus_server.Storage = LimitedStorage
    keep_codes()
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = _Server(
        arguments.host,
        arguments.port,
        arguments.storage_path,
        replica_set_name=None,  # with a name, it keeps a log of all writes for replicas and change streams
        require_auth=True,
        enable_test_commands=False,
        cache_size="256M",
    )
    server.connections = _Connections()
    _write_account(server, arguments.user, os.environ["SECANTUS_PASSWORD"])

    def stop(*_: object) -> None:
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    server.start()
    server.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="SecantusDB with one account.")
    for name in ("--user", "--storage-path", "--host"):
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


def _write_account(server: SecantusDBServer, user: str, password: str) -> None:
    """Write the account as `createUser` does; it replaces an older one."""
    account = {
        "_id": f"{_ACCOUNTS}.{user}",
        "user": user,
        "db": _ACCOUNTS,
        "credentials": derive_credentials(password).to_doc(),
        "roles": [{"role": _ROLE, "db": _ACCOUNTS}],
        "mechanisms": [SCRAM_SHA_256],
    }
    server.storage.add_user(_ACCOUNTS, user, account, replace=True)


if __name__ == "__main__":
    main()
