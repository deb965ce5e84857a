"""A stack: its servers, the services that use them, and their common lifetime."""

import asyncio
import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from aio_pika.exceptions import ChannelPreconditionFailed

from shotwatch_common.archive import Archive
from shotwatch_common.broker_connection import connection_to
from shotwatch_common.settings import read_secret, with_settings
from shotwatch_common.topology import Topology
from shotwatch_embedded import lock
from shotwatch_embedded.block_cache import CacheFolder
from shotwatch_embedded.credentials import KEYS_NAME, Credentials
from shotwatch_embedded.description import DEFAULT_ROOT, StackDescription, forget
from shotwatch_embedded.errors import ProcessFailed, StackError, StackRunning
from shotwatch_embedded.forks import ForkServer
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.keeper import Keeper
from shotwatch_embedded.launch import Launch
from shotwatch_embedded.ownership import require_own_place, resolved_root
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.private import make_private, private_files
from shotwatch_embedded.processes import kill_all, mark, start_guard
from shotwatch_embedded.servers import Server, probes
from shotwatch_embedded.servers.broker import broker
from shotwatch_embedded.servers.database import database
from shotwatch_embedded.servers.models import models
from shotwatch_embedded.servers.store import store
from shotwatch_embedded.services import HEALTH_PORT, ONE_THREAD, QUERY_KEYS_FILE, ServiceSpec
from shotwatch_embedded.status import Role, State, Status
from shotwatch_operations.broker.accounts import SETUP

DEFAULT_NAME = "default"

_STORE_KEYS = ("SHOTWATCH_STORE_ACCESS_KEY", "SHOTWATCH_STORE_SECRET_KEY")
_EXTERNAL = (
    "SHOTWATCH_BROKER_URL",
    "SHOTWATCH_DATABASE_URL",
    "SHOTWATCH_STORE_URL",
    *_STORE_KEYS,
    "SHOTWATCH_MODELS_URL",
    "SHOTWATCH_MODELS_USER",
    "SHOTWATCH_MODELS_PASSWORD",
    QUERY_KEYS_FILE,
)
_REUSE_PORT = "SHOTWATCH_REUSE_PORT"
_START_TIMEOUT = 120.0
_SERVER_CHECK_EVERY = 10.0
_SERVICE_CHECK_EVERY = 1.0
_SERVER_GRACE = 15.0
_SERVICE_GRACE = 10.0

Recipe = Callable[[Ports], Server]
OnChange = Callable[[Status], None]


def _ignore(_status: Status) -> None:
    """Ignore changes; the default of `on_change`."""


class Stack:
    """The embedded servers and the services on them: `async with` starts the servers and ends everything.

    When the process that holds a stack ends, for any reason, the stack ends with it: in order if the process
    exits normally, otherwise by its guard. Servers whose address is in the settings are used as they are, and
    so is a keys file.

    Only the user who runs the stack can read what it writes, and its servers and the REST API refuse clients
    without its credentials.
    """

    def __init__(
        self,
        folder: Path,
        held: TextIO,
        facility: Path,
        external: Mapping[str, str],
        prefix: str,
        services: tuple[ServiceSpec, ...],
        on_change: OnChange,
    ) -> None:
        self.name = folder.name
        self.folder = folder
        self._lock = held
        self._credentials = Credentials()
        self._block_cache = CacheFolder(folder / "block-cache")
        self._guard: subprocess.Popen[bytes] = start_guard(folder)
        self._facility = facility.resolve()
        self._external = external
        self._prefix = prefix
        self._server_settings: dict[str, str] = {}
        self._accounts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._on_change = on_change
        self._ports = Ports()
        self._forks = ForkServer({**os.environ, **ONE_THREAD, **mark(folder)}, self._log("fork-server"))
        self._first_services = services
        self._servers: dict[str, Keeper] = {}
        self._services: dict[str, Keeper] = {}
        self._described = False

    @classmethod
    def claim(
        cls,
        root: Path = DEFAULT_ROOT,
        name: str | None = None,
        *,
        facility: Path,
        settings: Mapping[str, str] = os.environ,
        services: Iterable[ServiceSpec] = (),
        on_change: OnChange = _ignore,
    ) -> Self:
        """Take the stack called `name`, or the first of `default`, `default-2`, … that does not run.

        Processes that a dead supervisor left behind are ended.

        Args:
            facility: the facility file for the services.
            settings: may hold addresses of servers that replace embedded ones (SHOTWATCH_BROKER_URL, …), and
                SHOTWATCH_PREFIX.
            services: start as soon as all servers are ready; what they share is imported meanwhile.
            on_change: called with every change of a process.

        Raises:
            StackRunning: the stack of that name runs already.
            StackError: the settings name an object store without its keys.
            ForeignStack: the folder belongs to another user or is a link, or another user can replace it.
            SettingsError: a file that holds one of the settings cannot be used.
        """
        external, prefix = _external(settings), settings.get("SHOTWATCH_PREFIX", "")
        for folder in _candidates(resolved_root(root), name):
            held = _taken(folder)
            if held is not None:
                kill_all(folder)
                make_private(folder)
                forget(folder)
                return cls(folder, held, facility, external, prefix, tuple(services), on_change)
        raise StackRunning(f"the stack {name} runs already under {root.resolve()}")

    async def __aenter__(self) -> Self:
        try:
            await self._start_servers()
            self.start_services(self._first_services)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.stop()

    def environment(self, service: str | None = None) -> dict[str, str]:
        """Return the environment of a service: addresses, keys, facility, folders.

        Without the name of a service, return the environment of the command line. On a server with an account
        for each service, a service gets its own account, or none.
        """
        variables = {
            "SHOTWATCH_PREFIX": self._prefix,
            "SHOTWATCH_DATABASE_NAME": f"{self._prefix}shotwatch",
            "SHOTWATCH_FACILITY": str(self._facility),
            "SHOTWATCH_TRACES_FOLDER": str(self.folder / "traces"),
            "SHOTWATCH_BLOCK_CACHE": str(self._block_cache.path),
            QUERY_KEYS_FILE: str(self.folder / KEYS_NAME),
            **self._external,
            **self._server_settings,
        }
        if service is None:
            return variables
        of_accounts = {name for account in self._accounts.values() for name in account}
        shared = {name: value for name, value in variables.items() if name not in of_accounts}
        return {**shared, **self._accounts.get(service, {})}

    def status(self) -> list[Status]:
        """Return the state of every process, servers first."""
        return [keeper.status for keeper in chain(self._servers.values(), self._services.values())]

    def describe(self) -> StackDescription:
        """Return the description by which other commands find the stack."""
        return StackDescription(
            name=self.name,
            folder=self.folder,
            pid=os.getpid(),
            environment=self.environment(),
            processes=tuple(self.status()),
            token=None if QUERY_KEYS_FILE in self._external else self._credentials.token,
        )

    def start_services(self, specs: Iterable[ServiceSpec]) -> None:
        """Start every replica of the services; `services_ready` waits for them.

        Raises:
            ValueError: the stack already runs a service of that name.
        """
        for spec in specs:
            for number in range(1, spec.replicas + 1):
                self._start_replica(spec, f"{spec.name}-{number}")

    async def services_ready(self, within_s: float = _START_TIMEOUT) -> None:
        """Wait until every service has become ready.

        Raises:
            ProcessFailed: a service is not ready after `within_s` seconds; the message ends with its log.
        """
        try:
            async with asyncio.timeout(within_s):
                for keeper in self._services.values():
                    await keeper.reach(State.READY)
        except TimeoutError:
            raise _not_ready(keeper.status, within_s) from None

    async def stop(self) -> None:
        """End services, then servers, then all remaining processes, and release the name for others."""
        if self._lock.closed:
            return
        try:
            await _stop_all(self._services.values())
            await _stop_all(self._servers.values())
        finally:
            self._forks.stop()
            kill_all(self.folder)
            self._guard.kill()  # kill_all misses a guard that just started: its environment is not visible
            self._guard.wait()
            forget(self.folder)
            self._block_cache.remove()
            self._ports.release()
            self._lock.close()

    def _make_folders(self) -> None:
        with private_files():
            for folder in ("logs", "traces"):
                (self.folder / folder).mkdir(exist_ok=True)

    async def _start_servers(self) -> None:
        self._make_folders()
        self._credentials.write_keys(self.folder)
        if self._first_services:
            self._forks.start()
        try:
            async with asyncio.TaskGroup() as group:
                for start in self._missing_servers():
                    group.create_task(start)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        self._described = True
        self.describe().write()

    def _missing_servers(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the start of each server for which the settings name no other."""
        credentials = self._credentials
        keys = (credentials.store_access_key, credentials.store_secret_key)
        if "SHOTWATCH_BROKER_URL" not in self._external:
            yield self._start_broker(credentials.broker_password)
        if "SHOTWATCH_DATABASE_URL" not in self._external:
            yield self._start_database(credentials.database_password)
        if "SHOTWATCH_STORE_URL" not in self._external:
            yield self._start_server(partial(store, self.folder / "store", *keys, prefix=self._prefix))
        if "SHOTWATCH_MODELS_URL" not in self._external:
            passwords = (credentials.models_engineer_password, credentials.models_reader_password)
            yield self._start_server(partial(models, self.folder / "models", *passwords))

    async def _start_broker(self, secret: str) -> None:
        """Start the broker, and declare what services have no right to declare.

        Raises:
            StackError: an existing queue differs from ours.
        """
        ensure_rabbitmq(install=False)
        folder = self.folder / "broker"
        await self._start_server(partial(broker, folder, secret, prefix=self._prefix))
        async with connection_to(self._accounts[SETUP]["SHOTWATCH_BROKER_URL"]) as connection:
            try:
                await Topology(self._prefix).declare(connection)
            except ChannelPreconditionFailed as error:
                raise StackError(f"the broker's data under {folder} are not ours: {error}") from error

    async def _start_database(self, password: str) -> None:
        """Start the database, and create the indexes of all services.

        If ten services create the same index at once on two busy cores, they may wait for the embedded server
        forever. An index that exists costs them nothing.
        """
        await self._start_server(partial(database, self.folder / "database", password))
        variables = self.environment()
        async with Archive.at(
            variables["SHOTWATCH_DATABASE_URL"], variables["SHOTWATCH_DATABASE_NAME"]
        ) as archive:
            await archive.ensure_indexes()

    async def _start_server(self, recipe: Recipe) -> None:
        """Start a server and wait until it is ready.

        Raises:
            ProcessFailed: it ended during its start, or is not ready in time.
        """
        with private_files():
            server = recipe(self._ports)
        keeper = Keeper(self._server_launch(server), self._report)
        self._servers[server.name] = keeper
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                state = await keeper.reach(State.READY, State.RESTARTING)
        except TimeoutError:
            raise _not_ready(keeper.status, _START_TIMEOUT) from None
        if state is State.RESTARTING:
            await keeper.stop()
            raise _ended(keeper.status)
        self._server_settings |= server.settings
        for name, account in server.accounts.items():
            self._accounts[name] |= account

    def _server_launch(self, server: Server) -> Launch:
        return Launch(
            name=server.name,
            role=Role.SERVER,
            command=server.command,
            environment=server.environment,
            owner=self.folder,
            folder=server.folder,
            log=self._log(server.name),
            port=server.port,
            probe=server.probe,
            check_every=_SERVER_CHECK_EVERY,
            grace=_SERVER_GRACE,
        )

    def _start_replica(self, spec: ServiceSpec, name: str) -> None:
        if name in self._services:
            raise ValueError(f"{name} runs already")
        self._services[name] = Keeper(self._service_launch(spec, name), self._report, self._forks)

    def _service_launch(self, spec: ServiceSpec, name: str) -> Launch:
        ports = {variable: self._ports.take() for variable in spec.ports}
        health = f"http://{LOOPBACK}:{ports[HEALTH_PORT]}"
        given = {variable: str(port) for variable, port in ports.items()} | {_REUSE_PORT: "true"}
        return Launch(
            name=name,
            role=Role.SERVICE,
            command=spec.command,
            environment=with_settings(
                os.environ, {**self.environment(spec.name), **spec.environment, **given}
            ),
            owner=self.folder,
            folder=Path.cwd(),
            log=self._log(name),
            port=ports[HEALTH_PORT],
            probe=partial(probes.answers, f"{health}/ready"),
            alive=partial(probes.answers, f"{health}/live"),
            check_every=_SERVICE_CHECK_EVERY,
            grace=_SERVICE_GRACE,
            ports=ports,
        )

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _report(self, status: Status) -> None:
        if self._described:
            with suppress(OSError):  # a full disk must not stop the supervision
                self.describe().write()
        self._on_change(status)


def _candidates(root: Path, name: str | None) -> Iterator[Path]:
    if name is not None:
        yield root / name
        return
    yield root / DEFAULT_NAME
    yield from (root / f"{DEFAULT_NAME}-{number}" for number in count(2))


def _taken(folder: Path) -> TextIO | None:
    """Create the folder if it is missing, and take its lock; return None if another process holds it.

    Raises:
        ForeignStack: another user could read and change everything in the folder, or replace it.
    """
    with private_files():
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
        require_own_place(folder)
        return lock.take(folder)


def _external(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that name external servers.

    Raises:
        SettingsError: a file that holds such a setting cannot be used.
        StackError: the settings name an object store without its keys.
    """
    external = {name: value for name in _EXTERNAL if (value := read_secret(name, settings))}
    if "SHOTWATCH_STORE_URL" in external and not all(key in external for key in _STORE_KEYS):
        raise StackError(f"SHOTWATCH_STORE_URL is set: set {' and '.join(_STORE_KEYS)} too")
    return external


async def _stop_all(keepers: Iterable[Keeper]) -> None:
    await asyncio.gather(*(keeper.stop() for keeper in keepers))


def _not_ready(status: Status, within_s: float) -> ProcessFailed:
    return ProcessFailed(status.name, f"is not ready after {within_s:g} s", status.log)


def _ended(status: Status) -> ProcessFailed:
    return ProcessFailed(status.name, f"ended at its start with exit code {status.exit_code}", status.log)
