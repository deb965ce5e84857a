"""The keeper of one process: it starts the process, checks that it is ready, and restarts it when it dies.

It also ends a process that was ready and has shown no life for three minutes.
"""

import asyncio
import os
import shlex
import signal
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from shotwatch_embedded.forks import Fork, ForkServer
from shotwatch_embedded.launch import Launch, Probe
from shotwatch_embedded.logs import is_too_long, shorten
from shotwatch_embedded.ports import accepts_connections
from shotwatch_embedded.private import UMASK, private_files
from shotwatch_embedded.processes import listens, mark
from shotwatch_embedded.status import State, Status

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_STEADY = 60.0
_POLL = 0.1
_PROBE_TIMEOUT = 5.0
_LONGEST_WITHOUT_LIFE = 180.0
_NOT_EXECUTABLE = 127
"""The exit code that shells give to a command that cannot be run."""


class Backoff:
    """Seconds to wait before the next start: 0.5, doubling to 30, and 0.5 again after a run of a minute."""

    def __init__(self) -> None:
        self._next = _FIRST_DELAY

    def after(self, lived: float) -> float:
        """Return the wait after a run of `lived` seconds."""
        delay = _FIRST_DELAY if lived >= _STEADY else self._next
        self._next = min(2 * delay, _LONGEST_DELAY)
        return delay


class Keeper:
    """A task that keeps one process running from its creation until `stop`.

    Create it inside a running event loop.
    """

    def __init__(
        self, launch: Launch, changed: Callable[[Status], None], forks: ForkServer | None = None
    ) -> None:
        """Start the process, and restart it whenever it ends; as a fork if the fork server can run it."""
        self._launch = launch
        self._forks = forks
        self._changed = changed
        self._state = State.STARTING
        self._pid: int | None = None
        self._restarts = 0
        self._exit_code: int | None = None
        self._owns_port = False
        """Whether a process of the stack was found to listen on the port, since it was last not ready."""
        self._turn = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"keep {launch.name}")

    @property
    def status(self) -> Status:
        launch = self._launch
        return Status(
            name=launch.name,
            role=launch.role,
            state=self._state,
            pid=self._pid,
            restarts=self._restarts,
            exit_code=self._exit_code,
            log=launch.log,
            port=launch.port,
            ports=launch.ports,
        )

    async def reach(self, *states: State) -> State:
        """Wait until the process is in one of the states, and return that state."""
        while self._state not in states:
            await self._turn.wait()
        return self._state

    async def stop(self) -> None:
        """End the process and its group: SIGTERM, then SIGKILL after the grace period."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._become(State.STOPPED)

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            await self._live_once()
            self._restarts += 1
            self._become(State.RESTARTING)
            await asyncio.sleep(backoff.after(time.monotonic() - began))

    async def _live_once(self) -> None:
        try:
            process = await self._spawn()
        except OSError as error:
            self._note(f"cannot be run: {error}")
            self._exit_code = _NOT_EXECUTABLE
            return
        self._pid = process.pid
        self._owns_port = False
        self._become(State.STARTING)
        watching = asyncio.create_task(self._watch())
        try:
            await process.wait()
        finally:
            watching.cancel()
            self._exit_code = await _end(process, self._launch.grace)
            self._pid = None

    async def _spawn(self) -> Process | Fork:
        launch = self._launch
        environment = {**launch.environment, **mark(launch.owner)}
        self._note(f"start {shlex.join(launch.command)}")
        with launch.log.open("ab") as log:
            if self._forks is not None and self._forks.can_run(launch.command, environment):
                return await self._forks.fork(launch.command, launch.folder, environment, log)
            return await asyncio.create_subprocess_exec(
                *launch.command,
                env=environment,
                cwd=launch.folder,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,
                umask=UMASK,
            )

    async def _watch(self) -> None:
        alive_at = time.monotonic()
        while True:
            state = self._judged(serves=await self._serves())
            if state is not self._state:
                self._become(state)
            if state is not State.UNREADY or await self._is_alive():
                alive_at = time.monotonic()
            elif self._pid is not None and time.monotonic() - alive_at > _LONGEST_WITHOUT_LIFE:
                self._note("shows no life and is killed")
                _signal_group(self._pid, signal.SIGKILL)
            with suppress(OSError):  # a full disk, or a log that somebody removed
                if is_too_long(self._launch.log):
                    await asyncio.to_thread(shorten, self._launch.log)
            await asyncio.sleep(self._launch.check_every if state is State.READY else _POLL)

    def _judged(self, *, serves: bool) -> State:
        if serves:
            return State.READY
        return State.STARTING if self._state is State.STARTING else State.UNREADY

    async def _serves(self) -> bool:
        return await _passed(self._listens) and await _passed(self._launch.probe)

    async def _is_alive(self) -> bool:
        return self._launch.alive is None or await _passed(self._launch.alive)

    async def _listens(self) -> bool:
        """Return whether a process of the stack listens on the port.

        Another program could have taken the port and answer in its place. This is checked once after each
        start and after each failed probe of a process that was ready, and only if somebody listens at all,
        because it reads the files of all processes.
        """
        launch = self._launch
        if not self._owns_port and await accepts_connections(launch.port):
            self._owns_port = listens(launch.owner, launch.port)
        return self._owns_port

    def _become(self, state: State) -> None:
        self._state = state
        if state is State.UNREADY:
            self._owns_port = False
        self._turn.set()
        self._turn = asyncio.Event()
        self._changed(self.status)

    def _note(self, what: str) -> None:
        line = f"== {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {self._launch.name}: {what}\n"
        with suppress(OSError), private_files(), self._launch.log.open("a") as log:
            log.write(line)


async def _passed(probe: Probe) -> bool:
    """Return whether a probe succeeds in time."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT):
            return await probe()
    except TimeoutError:
        return False


async def _end(process: Process | Fork, grace: float) -> int:
    """End the process and its whole group, and return its exit code."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    return await process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)
