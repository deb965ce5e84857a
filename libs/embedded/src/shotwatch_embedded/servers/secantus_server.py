"""SecantusDB with one account, which needs its password (SCRAM-SHA-256).

    SECANTUS_PASSWORD=… python -m shotwatch_embedded.servers.secantus_server --user U --storage-path FOLDER …

SecantusDB's own command line cannot do this: it creates accounts only over the wire, and a server that
requires a password refuses the client that would create the first account. Here the account is written at
every start, before the server listens, so a new password replaces the old one.
"""

import argparse
import logging
import os
import signal
import sys
import threading

from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.server import SecantusDBServer

from shotwatch_common.listening import listener

_ACCOUNTS = "admin"
"""The database in which MongoDB's clients expect accounts."""
_ROLE = "readWriteAnyDatabase"


class _Server(SecantusDBServer):  # type: ignore[misc]  # it has no types
    """SecantusDB on a port that the stack keeps bound: the class has no parameter for SO_REUSEPORT."""

    def start(self) -> None:
        """Listen, and serve in a thread."""
        self._socket = listener(self.host, self.port)
        self._thread = threading.Thread(target=self._serve_forever, name="secantus-accept", daemon=True)
        self._thread.start()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = _Server(
        arguments.host,
        arguments.port,
        arguments.storage_path,
        require_auth=True,
        enable_test_commands=False,
        cache_size="256M",
        sync_on_commit=True,
    )
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
