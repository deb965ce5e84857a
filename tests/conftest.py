"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import settings

from shotwatch_embedded import lock
from shotwatch_embedded.processes import mark, start_guard
from shotwatch_embedded.services import ONE_THREAD

SHARED = ("running", "url", "world")
"""Fixtures that start something large: the tests that use one of them share it, so one process runs them."""

for size in ("COLUMNS", "LINES"):
    # a worker of pytest-xdist claims a terminal of 80 columns, which the command line believes at its import
    os.environ.pop(size, None)


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start, also when the tests run as a shell's background job.

    How long an example takes is no claim of a test. Threads that wait for each other on cores that others use
    take several times the work, and a process that may not keep its bytecode compiles us at each start.
    """
    settings.register_profile("no timings", deadline=None)
    settings.load_profile("no timings")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(ONE_THREAD)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Say what must run in one process, for pytest-xdist's `--dist loadgroup`: what shares, and each file."""
    for item in items:
        shared = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """However the tests end, a guard ends the processes that they started."""
    folder = tmp_path_factory.mktemp("guarded")
    held = lock.take(folder)
    assert held is not None
    os.environ.update(mark(folder))
    with start_guard(folder) as _, held:
        yield
